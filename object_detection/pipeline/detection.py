"""The network, targets, losses, detections and augmentation of a pipeline config (no TF)."""

from __future__ import annotations

from typing import Any

from model.specs import CODE_SIZE
from object_detection.pipeline.fields import Fields
from utils.config import MOST_CLASSES, ModelConfig
from utils.detection_config import (
    PAD,
    AnchorSpec,
    BoxCoderSpec,
    DetectionConfig,
    LossSpec,
    MatcherSpec,
    PostProcessingSpec,
)
from utils.image_sizes import LARGEST_IMAGE_SIZE, ImageSize, size_of_sides
from utils.input.augmentation_specs import (
    AugmentationStep,
    ColorSpec,
    CropSpec,
    FlipSpec,
    RotateSpec,
    VerticalFlipSpec,
)

ARCHITECTURE = "ssd320"
FEATURE_EXTRACTORS = ("ssd_resnet50_v1_fpn",)
"""Types of feature extractor; the weights decide which ResNet-50 of ``model.specs.BACKBONES`` it is."""

HYPERPARAMS = (
    "model.ssd.feature_extractor.conv_hyperparams",
    "model.ssd.box_predictor.weight_shared_convolutional_box_predictor.conv_hyperparams",
)
"""The two groups of convolution hyperparameters; values that may vary must be the same in both."""
GROUP_NORM = tuple(f"{hyperparams}.group_norm" for hyperparams in HYPERPARAMS)

_SSD = "model.ssd."
_KEEP_ASPECT = f"{_SSD}image_resizer.keep_aspect_ratio_resizer"


def model_of(fields: Fields, data_format: str) -> ModelConfig:
    """Returns the network's config."""
    fields.need("model.ssd")
    extractor = f"{_SSD}feature_extractor"
    fields.need(extractor)
    fields.need(f"{_SSD}box_predictor.weight_shared_convolutional_box_predictor")
    fields.need(f"{HYPERPARAMS[0]}.initializer.truncated_normal_initializer")
    fields.need(f"{HYPERPARAMS[1]}.initializer.random_normal_initializer")
    kind = fields.value(f"{extractor}.type")
    if kind not in FEATURE_EXTRACTORS:
        raise fields.error(f"{extractor}.type", f" {kind or '(not set)'}: must be {', '.join(FEATURE_EXTRACTORS)}")
    return ModelConfig(
        architecture=ARCHITECTURE,
        num_classes=fields.number(f"{_SSD}num_classes", 1, MOST_CLASSES),
        image_size=_image_size(fields),
        data_format=data_format,
    )


def _image_size(fields: Fields) -> ImageSize:
    """The size of the network's input, which pictures are stretched or padded to."""
    if fields.is_set(_KEEP_ASPECT):
        fields.need(_KEEP_ASPECT)
        fields.fixed(f"{_KEEP_ASPECT}.pad_to_max_dimension", True, "all inputs of SSD320 have one size")
        largest: int = fields.number(f"{_KEEP_ASPECT}.max_dimension", 1, LARGEST_IMAGE_SIZE)
        fields.fixed(f"{_KEEP_ASPECT}.min_dimension", largest, "as max_dimension, for pictures as large as fits")
        return largest
    resizer = f"{_SSD}image_resizer.fixed_shape_resizer"
    fields.need(resizer)
    height, width = (fields.number(f"{resizer}.{side}", 1, LARGEST_IMAGE_SIZE) for side in ("height", "width"))
    return size_of_sides(height, width)


def detection_of(fields: Fields) -> DetectionConfig:
    """Returns the config of everything but the network."""
    return DetectionConfig(
        anchors=_anchors(fields),
        coder=_coder(fields),
        matcher=_matcher(fields),
        losses=_losses(fields),
        post_processing=_post_processing(fields),
        augmentation=_augmentation(fields),
        resize=PAD if fields.is_set(_KEEP_ASPECT) else None,
        **_normalization(fields),
    )


def has_group_norm(fields: Fields) -> bool:
    """Returns whether pyramid and heads have group normalization; the backbone keeps batch normalization.

    Raises:
        UsageError: Only one of the two has it, or one has no normalization.
    """
    for hyperparams in HYPERPARAMS:
        fields.one_of(hyperparams, ("batch_norm", "group_norm"))
    given = [path for path in GROUP_NORM if fields.is_set(path)]
    if len(given) == 1:
        (other,) = set(GROUP_NORM) - set(given)
        raise fields.error(given[0], f": needs {other} too; pyramid and heads have the same normalization")
    return bool(given)


def _normalization(fields: Fields) -> dict[str, Any]:
    if has_group_norm(fields):
        return {"norm": "group"}
    paths = (f"{HYPERPARAMS[0]}.batch_norm.decay", f"{HYPERPARAMS[1]}.batch_norm.decay")
    fields.number(paths[0], 0, 1 - 1e-9)
    return {"batch_norm_decay": float(fields.same(paths))}


def trains_batch_norm(fields: Fields) -> bool:
    """Returns whether training updates the statistics of batch normalization."""
    if has_group_norm(fields):
        return True
    return bool(fields.same((f"{HYPERPARAMS[0]}.batch_norm.train", f"{HYPERPARAMS[1]}.batch_norm.train")))


def _anchors(fields: Fields) -> AnchorSpec:
    path = f"{_SSD}anchor_generator.multiscale_anchor_generator"
    fields.need(path)
    ratios = fields.value(f"{path}.aspect_ratios")
    if not ratios or not all(0 < ratio < 1e6 for ratio in ratios):
        raise fields.error(f"{path}.aspect_ratios", f" {list(ratios)}: must be one or more numbers above 0")
    return AnchorSpec(
        min_level=fields.value(f"{path}.min_level"),
        max_level=fields.value(f"{path}.max_level"),
        scale=fields.number(f"{path}.anchor_scale", 0, above=True),
        aspect_ratios=ratios,
        scales_per_octave=fields.number(f"{path}.scales_per_octave", 1, 100),
    )


def _coder(fields: Fields) -> BoxCoderSpec:
    path = f"{_SSD}box_coder.faster_rcnn_box_coder"
    fields.need(path)
    names = ("y_scale", "x_scale", "height_scale", "width_scale")
    return BoxCoderSpec(**{name: fields.number(f"{path}.{name}", 0, above=True) for name in names})


def _matcher(fields: Fields) -> MatcherSpec:
    fields.need(f"{_SSD}similarity_calculator.iou_similarity")
    path = f"{_SSD}matcher.argmax_matcher"
    fields.need(path)
    values = {name: fields.number(f"{path}.{name}", 0, 1) for name in ("matched_threshold", "unmatched_threshold")}
    try:
        return MatcherSpec(
            **values,
            negatives_lower_than_unmatched=fields.value(f"{path}.negatives_lower_than_unmatched"),
            force_match=fields.value(f"{path}.force_match_for_each_row"),
        )
    except ValueError as error:
        raise fields.error(path, f": {error}") from None


def _losses(fields: Fields) -> LossSpec:
    path = f"{_SSD}loss."
    focal = f"{path}classification_loss.weighted_sigmoid_focal"
    fields.need(focal)
    alpha = fields.number(f"{focal}.alpha", 0, 1)
    return LossSpec(
        focal_alpha=alpha if fields.is_set(f"{focal}.alpha") else None,
        focal_gamma=fields.number(f"{focal}.gamma", 0),
        classification_weight=fields.number(f"{path}classification_weight", 0),
        **_localization_loss(fields),
    )


def _localization_loss(fields: Fields) -> dict[str, Any]:
    """The loss of boxes and its weight; the format divides every loss by ``CODE_SIZE``, this program only huber."""
    path, weight = f"{_SSD}loss.localization_loss", fields.number(f"{_SSD}loss.localization_weight", 0)
    kind = fields.one_of(path, ("weighted_smooth_l1", "weighted_giou"))
    if kind == "weighted_giou":
        return {"box_loss": "giou", "localization_weight": weight / CODE_SIZE}
    return {"huber_delta": fields.number(f"{path}.{kind}.delta", 0, above=True), "localization_weight": weight}


def _post_processing(fields: Fields) -> PostProcessingSpec:
    path = f"{_SSD}post_processing.batch_non_max_suppression."
    twice_sigma = 2 * fields.number(f"{path}soft_nms_sigma", 0)  # TensorFlow multiplies by exp(-overlap^2 / 2 sigma)
    ways = {"suppression": "soft", "soft_sigma": twice_sigma} if twice_sigma else {}
    of_class, in_all = (fields.number(f"{path}max_{name}", 1) for name in ("detections_per_class", "total_detections"))
    try:
        return PostProcessingSpec(
            **ways,
            class_agnostic=fields.value(f"{path}use_class_agnostic_nms"),
            score_threshold=fields.number(f"{path}score_threshold", 0, 1),
            iou_threshold=fields.number(f"{path}iou_threshold", 0, 1),
            max_detections_per_class=None if of_class == in_all else of_class,
            max_total_detections=in_all,
        )
    except ValueError as error:
        raise fields.error(path.removesuffix("."), f": {error}") from None


def _augmentation(fields: Fields) -> tuple[AugmentationStep, ...]:
    """Returns the augmentation steps in the order of the config."""
    steps: list[AugmentationStep] = []
    for number, option in enumerate(fields.message.train_config.data_augmentation_options):
        path = f"train_config.data_augmentation_options[{number}]"
        name = option.WhichOneof("alternatives")
        if name is None:
            raise fields.error(path, f": is empty; it may hold one of {', '.join(_STEPS)}")
        steps.append(_STEPS[name](fields, f"{path}.{name}."))
    return tuple(steps)


def _crop(fields: Fields, path: str) -> CropSpec:
    ratios = fields.number(f"{path}min_aspect_ratio", 0, above=True), fields.number(f"{path}max_aspect_ratio", 0)
    areas = fields.number(f"{path}min_area", 0, 1, above=True), fields.number(f"{path}max_area", 0, 1)
    for name, (least, most) in {"aspect_ratio": ratios, "area": areas}.items():
        if least > most:
            raise fields.error(f"{path}min_{name}", f" {least:g}: must be at most max_{name} {most:g}")
    return CropSpec(
        min_object_covered=fields.number(f"{path}min_object_covered", 0, 1),
        aspect_ratio=ratios,
        area=areas,
        overlap=fields.number(f"{path}overlap_thresh", 0, 1),
        clip_boxes=fields.value(f"{path}clip_boxes"),
        skip_probability=fields.number(f"{path}random_coef", 0, 1),
    )


def _color(fields: Fields, path: str) -> ColorSpec:
    return ColorSpec(ordering=fields.number(f"{path}color_ordering", 0, 1))


_STEPS: dict[str, Any] = {
    "random_horizontal_flip": lambda fields, path: FlipSpec(),
    "random_crop_image": _crop,
    "random_distort_color": _color,
    "random_vertical_flip": lambda fields, path: VerticalFlipSpec(),
    "random_rotation90": lambda fields, path: RotateSpec(turns=(0, 1)),
}
