"""Modules of the package by the names that they had."""

import pytest

import neuromorphic
from neuromorphic.execution import reference
from neuromorphic.reading.read import read_graph


def test_a_module_that_moved_is_found_by_its_old_name_and_says_where_it_is():
    with pytest.warns(DeprecationWarning, match="neuromorphic.read has moved to neuromorphic.reading.read"):
        from neuromorphic.read import read_graph as old
    assert old is read_graph
    with pytest.warns(DeprecationWarning, match="moved to neuromorphic.execution.reference"):
        import neuromorphic.reference as old_reference
    assert old_reference.run is reference.run


@pytest.mark.parametrize("old", sorted(neuromorphic._MOVED))
def test_every_old_name_leads_to_a_module(old):
    with pytest.warns(DeprecationWarning, match="has moved"):
        neuromorphic._Moved().exec_module(type(neuromorphic)(old))


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"neuromorphic\.nothing"):
        __import__("neuromorphic.nothing")
