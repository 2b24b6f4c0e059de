"""A bundle like spleen_ct_segmentation of the MONAI model zoo, with weights made on the spot."""

from monai.networks.nets import UNet

from tests.unit.inference.zoo import SOFTMAX, Form, invert, keyed, save

_UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}

SPLEEN = Form(
    network={"_target_": "UNet", **_UNET},
    module=lambda: UNet(**_UNET),
    before=(
        keyed("LoadImaged"),
        keyed("EnsureChannelFirstd"),
        keyed("Orientationd", axcodes="RAS", labels=None),
        keyed("Spacingd", pixdim=[1.5, 1.5, 2.0], mode="bilinear"),
        keyed("ScaleIntensityRanged", a_min=-57, a_max=164, b_min=0, b_max=1, clip=True),
        keyed("EnsureTyped"),
    ),
    after=(
        SOFTMAX,
        invert(nearest_interp=False, to_tensor=True),
        keyed("AsDiscreted", "pred", argmax=True),
        save(),
    ),
    changes={
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": [96, 96, 96],
            "sw_batch_size": 4,
            "overlap": 0.5,
        },
        "evaluator": {"amp": True},
    },
    segments=(("Spleen", "78961009"),),
)
"""Its network, windows, transforms and mixed precision; its weights are random."""
