"""The format of pipeline configs, as one table: messages, fields, types and defaults (no TF).

The table also lists fields that no shipped config uses, up to the last version of the detection library, so that a
user's config with one of them is told "not offered here" instead of "no such field". Its notation is close to the
message definitions of protocol buffers, version 2:

* ``message NAME`` begins a message; lines ``TYPE FIELD, FIELD, ...`` follow, with ``= DEFAULT`` after a field whose
  default is not zero, false, empty or the first value of its enumeration.
* ``repeated`` makes a line's fields lists; ``oneof`` makes them alternatives: a message has at most one of
  them.
* A type is a scalar, an enumeration of ``ENUMS``, or a message. The fields of an ``opaque`` message are not listed,
  since the whole message is refused.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ROOT = "TrainEvalPipelineConfig"
OPAQUE = "opaque"

ENUMS = {
    "activation": ("NONE", "RELU", "RELU_6", "SWISH"),
    "operation": ("CONV", "FC"),
    "score_converter": ("IDENTITY", "SIGMOID", "SOFTMAX"),
    "resize_method": ("BILINEAR", "BICUBIC", "NEAREST_NEIGHBOR", "AREA"),
    "expected_loss": ("NONE", "EXPECTED_SAMPLING", "REWEIGHTING_UNMATCHED_ANCHORS"),
    "mask_type": ("DEFAULT", "NUMERICAL_MASKS", "PNG_MASKS"),
    "checkpoint_version": ("UNKNOWN", "V1", "V2"),
    "input_type": ("INPUT_DEFAULT", "TF_EXAMPLE", "TF_SEQUENCE_EXAMPLE"),
}

TABLE = """
message TrainEvalPipelineConfig
  DetectionModel model
  TrainConfig train_config
  InputReader train_input_reader
  EvalConfig eval_config
  repeated InputReader eval_input_reader
  opaque graph_rewriter

message DetectionModel
  oneof opaque faster_rcnn, center_net, experimental_model
  oneof Ssd ssd

message Ssd
  bool inplace_batchnorm_update, freeze_batchnorm, encode_background_as_zeros, normalize_loss_by_num_matches = true
  bool normalize_loc_loss_by_codesize, add_background_class = true, explicit_background_class
  bool use_confidences_as_targets, return_raw_detections_during_predict
  int32 num_classes
  BoxCoder box_coder
  Matcher matcher
  SimilarityCalculator similarity_calculator
  float negative_class_weight = 1.0, implicit_example_weight = 1.0
  AnchorGenerator anchor_generator
  ImageResizer image_resizer
  BoxPredictor box_predictor
  FeatureExtractor feature_extractor
  Loss loss
  PostProcessing post_processing
  opaque mask_head_config

message BoxCoder
  oneof FasterRcnnBoxCoder faster_rcnn_box_coder
  oneof opaque mean_stddev_box_coder, square_box_coder, keypoint_box_coder
message FasterRcnnBoxCoder
  float y_scale = 10.0, x_scale = 10.0, height_scale = 5.0, width_scale = 5.0

message Matcher
  oneof ArgMaxMatcher argmax_matcher
  oneof opaque bipartite_matcher, hungarian_matcher
message ArgMaxMatcher
  float matched_threshold = 0.5, unmatched_threshold = 0.5
  bool ignore_thresholds, negatives_lower_than_unmatched = true, force_match_for_each_row, use_matmul_gather

message SimilarityCalculator
  oneof opaque neg_sq_dist_similarity, ioa_similarity, thresholded_iou_similarity
  oneof Empty iou_similarity

message AnchorGenerator
  oneof opaque grid_anchor_generator, ssd_anchor_generator, flexible_grid_anchor_generator
  oneof MultiscaleAnchorGenerator multiscale_anchor_generator
message MultiscaleAnchorGenerator
  int32 min_level = 3, max_level = 7, scales_per_octave = 2
  float anchor_scale = 4.0
  repeated float aspect_ratios
  bool normalize_coordinates = true

message ImageResizer
  oneof opaque identity_resizer, conditional_shape_resizer, pad_to_multiple_resizer
  oneof FixedShapeResizer fixed_shape_resizer
  oneof KeepAspectRatioResizer keep_aspect_ratio_resizer
message FixedShapeResizer
  int32 height = 300, width = 300
  resize_method resize_method
  bool convert_to_grayscale

message KeepAspectRatioResizer
  int32 min_dimension = 600, max_dimension = 1024
  resize_method resize_method
  bool pad_to_max_dimension, convert_to_grayscale
  repeated float per_channel_pad_value

message BoxPredictor
  oneof opaque convolutional_box_predictor, mask_rcnn_box_predictor, rfcn_box_predictor
  oneof WeightSharedConvolutionalBoxPredictor weight_shared_convolutional_box_predictor
message WeightSharedConvolutionalBoxPredictor
  Hyperparams conv_hyperparams
  int32 depth, num_layers_before_predictor, kernel_size = 3, box_code_size = 4
  float class_prediction_bias_init, dropout_keep_probability = 0.8
  bool use_dropout, share_prediction_tower, use_depthwise
  score_converter score_converter
  opaque box_encodings_clip_range

message FeatureExtractor
  string type
  FeaturePyramid fpn
  opaque bifpn
  float depth_multiplier = 1.0
  int32 min_depth = 16, pad_to_multiple = 1, num_layers = 6
  Hyperparams conv_hyperparams
  bool override_base_feature_extractor_hyperparams, batch_norm_trainable = true, use_explicit_padding, use_depthwise
  bool replace_preprocessor_with_placeholder
  string spaghettinet_arch_name
message FeaturePyramid
  int32 min_level = 3, max_level = 7, additional_layer_depth = 256

message Hyperparams
  operation op
  activation activation = RELU
  Regularizer regularizer
  Initializer initializer
  oneof BatchNorm batch_norm
  oneof Empty group_norm
  oneof opaque sync_batch_norm
  bool regularize_depthwise, force_use_bias
message Regularizer
  oneof opaque l1_regularizer
  oneof Weight l2_regularizer
message Weight
  float weight = 1.0
message Initializer
  oneof Normal truncated_normal_initializer, random_normal_initializer
  oneof opaque variance_scaling_initializer, random_uniform_initializer, keras_initializer_by_name
message Normal
  float mean, stddev = 1.0
message BatchNorm
  float decay = 0.999, epsilon = 0.001
  bool center = true, scale, train = true

message Loss
  LocalizationLoss localization_loss
  ClassificationLoss classification_loss
  opaque hard_example_miner, random_example_sampler, equalization_loss
  float classification_weight = 1.0, localization_weight = 1.0
  expected_loss expected_loss_weights
message LocalizationLoss
  oneof opaque weighted_l2, weighted_iou, l1_localization_loss
  oneof SmoothL1 weighted_smooth_l1
  oneof Empty weighted_giou
message SmoothL1
  float delta = 1.0
message ClassificationLoss
  oneof opaque weighted_sigmoid, weighted_softmax, weighted_logits_softmax, bootstrapped_sigmoid
  oneof opaque penalty_reduced_logistic_focal_loss, weighted_dice_classification_loss
  oneof Focal weighted_sigmoid_focal
message Focal
  float gamma = 2.0, alpha

message PostProcessing
  NonMaxSuppression batch_non_max_suppression
  score_converter score_converter
  float logit_scale = 1.0
  opaque calibration_config
message NonMaxSuppression
  float score_threshold, iou_threshold = 0.6, soft_nms_sigma
  int32 max_detections_per_class = 100, max_total_detections = 100, max_classes_per_detection = 1
  bool use_static_shapes, use_class_agnostic_nms, use_combined_nms, change_coordinate_frame = true, use_hard_nms
  bool use_cpu_nms

message TrainConfig
  int32 batch_size = 32, keep_checkpoint_every_n_hours = 10000, num_steps, replicas_to_aggregate = 1
  int32 batch_queue_capacity, num_batch_queue_threads, prefetch_queue_capacity, max_number_of_boxes = 100
  repeated PreprocessingStep data_augmentation_options
  bool sync_replicas, from_detection_checkpoint, load_all_detection_checkpoint_vars, merge_multiple_label_boxes
  bool use_multiclass_scores, add_regularization_loss = true, unpad_groundtruth_tensors = true, retain_original_images
  bool use_bfloat16, summarize_gradients
  Optimizer optimizer
  float gradient_clipping_by_norm, startup_delay_steps = 15, bias_grad_multiplier
  string fine_tune_checkpoint, fine_tune_checkpoint_type
  checkpoint_version fine_tune_checkpoint_version = V1
  repeated string freeze_variables, update_trainable_variables

message PreprocessingStep
  oneof RandomHorizontalFlip random_horizontal_flip
  oneof RandomCropImage random_crop_image
  oneof RandomDistortColor random_distort_color
  oneof RandomVerticalFlip random_vertical_flip
  oneof Empty random_rotation90
  oneof opaque normalize_image, random_pixel_value_scale, random_image_scale, random_rgb_to_gray
  oneof opaque random_adjust_brightness, random_adjust_contrast, random_adjust_hue, random_adjust_saturation
  oneof opaque random_jitter_boxes, random_pad_image, random_crop_pad_image, random_crop_to_aspect_ratio
  oneof opaque random_black_patches, random_resize_method, scale_boxes_to_pixel_coordinates, resize_image
  oneof opaque subtract_channel_mean, ssd_random_crop, ssd_random_crop_pad, ssd_random_crop_fixed_aspect_ratio
  oneof opaque ssd_random_crop_pad_fixed_aspect_ratio, rgb_to_gray
  oneof opaque convert_class_logits_to_softmax, random_absolute_pad_image, random_self_concat_image
  oneof opaque autoaugment_image, drop_label_probabilistically, remap_labels, random_jpeg_quality
  oneof opaque random_downscale_to_target_pixels, random_patch_gaussian, random_square_crop_by_scale
  oneof opaque random_scale_crop_and_pad_to_square, adjust_gamma
message RandomHorizontalFlip
  repeated int32 keypoint_flip_permutation
message RandomCropImage
  float min_object_covered = 1.0, min_aspect_ratio = 0.75, max_aspect_ratio = 1.33, min_area = 0.1, max_area = 1.0
  float overlap_thresh = 0.3, random_coef
  bool clip_boxes = true
message RandomDistortColor
  int32 color_ordering
message RandomVerticalFlip
  repeated int32 keypoint_flip_permutation

message Optimizer
  oneof MomentumOptimizer momentum_optimizer
  oneof AdamOptimizer adam_optimizer
  oneof RmsPropOptimizer rms_prop_optimizer
  bool use_moving_average = true
  float moving_average_decay = 0.9999
message MomentumOptimizer
  LearningRate learning_rate
  float momentum_optimizer_value = 0.9
message AdamOptimizer
  LearningRate learning_rate
  float epsilon = 1e-8
message RmsPropOptimizer
  LearningRate learning_rate
  float momentum_optimizer_value = 0.9, decay = 0.9, epsilon = 1.0
message LearningRate
  oneof opaque exponential_decay_learning_rate, manual_step_learning_rate
  oneof CosineDecay cosine_decay_learning_rate
  oneof ConstantRate constant_learning_rate
message ConstantRate
  float learning_rate = 0.002
message CosineDecay
  float learning_rate_base = 0.002, warmup_learning_rate = 0.0002
  int32 total_steps = 4000000, warmup_steps = 10000, hold_base_rate_steps

message InputReader
  string name, label_map_path
  oneof TFRecordInputReader tf_record_input_reader
  oneof opaque external_input_reader
  bool shuffle = true, load_instance_masks, load_multiclass_scores, use_display_name, load_context_features
  bool expand_labels_hierarchy, load_dense_pose, load_track_id, load_keypoint_depth_features, drop_remainder = true
  int32 shuffle_buffer_size = 2048, filenames_shuffle_buffer_size = 100, queue_capacity = 2000
  int32 min_after_dequeue = 1000, num_epochs, num_readers = 64, read_block_length = 32, num_parallel_batches = 8
  int32 num_prefetch_batches = 2, prefetch_size = 512, max_number_of_boxes = 100, num_additional_channels
  int32 sample_1_of_n_examples = 1, num_parallel_map_calls = 64, num_keypoints, frame_index = -1
  float keypoint_type_weight
  input_type input_type
  mask_type mask_type
message TFRecordInputReader
  repeated string input_path

message EvalConfig
  int32 batch_size = 1, num_examples = 5000, num_visualizations = 10, max_num_boxes_to_visualize = 20
  int32 eval_interval_secs = 300, max_evals
  float min_score_threshold = 0.5
  bool save_graph, ignore_groundtruth, use_moving_averages, eval_instance_masks, retain_original_images = true
  bool include_metrics_per_category, skip_scores, skip_labels, visualize_groundtruth_boxes
  bool keep_image_id_for_visualization_export, retain_original_image_additional_channels, force_no_resize
  bool all_metrics_per_category
  float recall_lower_bound, recall_upper_bound = 1.0
  string visualization_export_dir, eval_master, export_path, groundtruth_box_visualization_color = black
  repeated string metrics_set
  repeated opaque parameterized_metric, keypoint_edge, super_categories

message Empty
message opaque
"""

_PACKAGE = "pipeline"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "float": _FIELD.TYPE_DOUBLE,  # so that 0.16 is the number that Python calls 0.16
    "string": _FIELD.TYPE_STRING,
}


@functools.cache
def message_class() -> type[Any]:
    """Returns the class of the root message; its attributes lead to all other messages."""
    pool = descriptor_pool.DescriptorPool()  # a separate pool: the process may define these names elsewhere
    pool.AddSerializedFile(_file().SerializeToString())
    found: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{ROOT}"))
    return found


def _file() -> Any:
    """Converts the table to protobuf's file descriptor."""
    file = descriptor_pb2.FileDescriptorProto(name="pipeline.proto", package=_PACKAGE, syntax="proto2")
    for name, values in ENUMS.items():
        enum = file.message_type.add(name=f"{name}_values").enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for line in filter(None, TABLE.splitlines()):
        if line.startswith("message "):
            message = file.message_type.add(name=line.removeprefix("message "))
        else:
            _add_fields(message, line.split())
    return file


def _add_fields(message: Any, words: list[str]) -> None:
    label = words.pop(0) if words[0] in ("repeated", "oneof") else ""
    kind = words.pop(0)
    if label == "oneof" and not message.oneof_decl:
        message.oneof_decl.add(name="alternatives")
    for text in " ".join(words).split(", "):
        name, _, default = text.partition(" = ")
        field = message.field.add(name=name, number=len(message.field) + 1)
        field.label = _FIELD.LABEL_REPEATED if label == "repeated" else _FIELD.LABEL_OPTIONAL
        if label == "oneof":
            field.oneof_index = 0
        if default:
            field.default_value = default
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        elif kind in ENUMS:
            field.type, field.type_name = _FIELD.TYPE_ENUM, f".{_PACKAGE}.{kind}_values.{kind}"
        else:
            field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
