"""Images from where people keep them, with their labels and the names of their classes.  No torch.

A SPEC is what the commands take for images (docs/data.md):

    cifar10:DIR[:train|:test]       as its authors' binary files or as torchvision's pickles, which are never executed
    cifar100:DIR[:train|:test]      likewise
    stl10:DIR[:train|:test|:unlabeled]
    flowers102:DIR[:train|:val|:test]
    pets:DIR[:trainval|:test]
    caltech101:DIR
    FILE.npz                        `images` uint8 or uint16 [N, H, W, 3], optionally `labels` [N] and `label_names`
    FILE                            one image that Pillow reads
    DIR                             a folder of images; sub-folders are classes
    samples                         photographs that scikit-image carries in its wheel

DIR is the folder with the files or the one that torchvision was given as root; without a split it is the test images.
One file of this package for each layout; `load_images` crops and resizes what they find.
"""

from spikeclip.data.folder import IMAGE_SUFFIXES
from spikeclip.data.image_set import ImageSet
from spikeclip.data.load import SAMPLES, load_images
from spikeclip.data.pixels import MAX_PIXELS

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "SAMPLES", "ImageSet", "load_images"]
