"""Layers of both networks side by side: none is lost, none stands twice, and equals meet."""

from hypothesis import given
from hypothesis import strategies as st

from energy.report.alignment import align
from tests.energy.documents import document

DATA = document(layers=12)


def changed(snn, ann, baseline="twin"):
    """Counts with such names and work per image."""
    layer, twin = DATA.snn.layers["layer.1"], DATA.ann.layers[next(iter(DATA.ann.layers))]
    ours = {
        name: layer.model_copy(update={"dense": 4 * work * DATA.images, "macs_once": 0}) for name, work in snn.items()
    }
    theirs = {name: twin.model_copy(update={"macs": work * DATA.images}) for name, work in ann.items()}
    return (
        DATA.snn.model_copy(update={"layers": ours}),
        DATA.ann.model_copy(update={"layers": theirs, "baseline": baseline}),
        DATA.images,
        4,
    )


def test_the_shipped_encoders_layers_beside_its_twins():
    snn = {
        "stem.0.conv": 95,
        "attn.k.synapse": 30,
        "attn.q.synapse": 30,
        "attn.out": 1,
        "attn.proj": 30,
        "mlp": 120,
        "readout": 64,
    }
    ann = {"stem.conv": 100, "attn.q": 30, "attn.k": 30, "attn.scores": 15, "attn.out": 30, "mlp": 120, "head": 1}
    assert align(*changed(snn, ann)) == [
        ("stem.0.conv", "stem.conv"),
        ("attn.k.synapse", "attn.k"),
        (None, "attn.scores"),
        ("attn.q.synapse", "attn.q"),
        ("attn.out", "head"),
        ("attn.proj", "attn.out"),
        ("mlp", "mlp"),
        ("readout", None),
    ]


def test_the_last_layers_meet_however_unlike_unless_one_has_met_another():
    assert align(*changed({"conv": 100, "readout": 9000}, {"stem": 100, "head": 1})) == [
        ("conv", "stem"),
        ("readout", "head"),
    ]
    met = align(*changed({"conv": 100, "readout": 9000}, {"head": 9000, "tail": 1}))
    assert ("readout", "head") in met
    assert (None, "tail") in met


def test_a_dense_baseline_has_the_same_names():
    found = align(*changed({"a": 1, "pool": 3, "b": 50}, {"a": 9, "b": 50}, "dense"))
    assert found == [("a", "a"), ("pool", None), ("b", "b")]


def test_without_a_twin_every_layer_stands_alone():
    assert align(DATA.snn, None, DATA.images, 4) == [(name, None) for name in DATA.snn.layers]


words = st.text("abc.", min_size=1, max_size=6)
layers = st.dictionaries(words, st.integers(0, 40), max_size=6)


@given(layers, layers, st.sampled_from(["twin", "dense"]))
def test_every_layer_of_both_sides_stands_once(snn, ann, baseline):
    rows = align(*changed(snn, ann, baseline))
    assert [ours for ours, _ in rows if ours is not None] == list(snn)
    assert sorted(theirs for _, theirs in rows if theirs is not None) == sorted(ann)
    assert (None, None) not in rows
