"""Image sizes that backbones were made for, known without torch, since a config is asked for them.

They are the crop sizes of the transforms that torchvision gives with each backbone's ImageNet weights, which a test
compares. Backbones without an entry take images as they are stored, at most 224 x 224.
"""

_TRANSFORMERS = ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14", "swin_t", "swin_s", "swin_b")

INPUT_SIZES: dict[str, int] = {
    **dict.fromkeys(_TRANSFORMERS, 224),
    "swin_v2_t": 256,
    "swin_v2_s": 256,
    "swin_v2_b": 256,
    "efficientnet_b0": 224,
    "efficientnet_b1": 240,
    "efficientnet_b2": 288,
    "efficientnet_b3": 300,
    "efficientnet_b4": 380,
    "efficientnet_b5": 456,
    "efficientnet_b6": 528,
    "efficientnet_b7": 600,
    "efficientnet_v2_s": 384,
    "efficientnet_v2_m": 480,
    "efficientnet_v2_l": 480,
}
"""Height and width, by the name of the backbone."""
