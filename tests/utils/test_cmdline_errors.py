"""Rejected command lines, each with its whole error message."""

import pytest

from utils.cmdline_helper import parse
from utils.config import ARCHITECTURES, MODES
from utils.errors import UsageError

TRAIN = ["--mode=train", "--batch_size=8", "--data_dir=D"]
NEEDS_BATCH = "--batch_size: needed for --mode {}, the number of images per step and process"
NEEDS_DATA = "--data_dir: needed for --mode evaluate, a folder of TFRecords; only the benchmarks can do without"


def message_of(*arguments):
    with pytest.raises(UsageError) as error:
        parse(arguments, {})
    return str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", NEEDS_BATCH.format("train_and_evaluate")),
        ("--mode=train --data_dir=D", NEEDS_BATCH.format("train")),
        ("--mode=evaluate --batch_size=8", NEEDS_DATA),
        ("--mode=evaluate --batch_size=8 --data_dir=", NEEDS_DATA),
        ("--mode=predict", "--mode predict: needs --to_predict, an image, a folder or a glob"),
        ("--mode=predict --to_predict=", "--to_predict '': must be a path"),
        ("--mode=test", f"--mode test: must be one of {', '.join(MODES)}"),
        ("--mode=trian", f"--mode trian: must be one of {', '.join(MODES)}; did you mean train?"),
        ("--arch=vgg", f"--arch vgg: must be one of {', '.join(ARCHITECTURES)}"),
        ("--arch=resnet",
         f"--arch resnet: must be one of {', '.join(ARCHITECTURES)}; did you mean resnet18, resnet34 or resnet50?"),
        ("--batch_size=0 --data_dir=D", "--batch_size 0: must be a positive integer"),
        ("--batch_size=-3 --data_dir=D", "--batch_size -3: must be a positive integer"),
        ("--batch_size=8.5", "--batch_size 8.5: must be an integer or auto"),
        ("--batch_size=", "--batch_size '': must be an integer or auto"),
        ("--batch_size", "--batch_size: needs a value"),
        ("--batch_size --amp", "--batch_size: needs a value"),
        ("--amp=1", "--amp=1: --amp is a switch and takes no value"),
        ("--lr_init=fast", "--lr_init fast: must be a number"),
        ("--lr_init=nan", "--lr_init nan: must be a number"),
        ("--num_iter=0 --batch_size=8 --data_dir=D", "--num_iter 0: must be a positive integer"),
        ("--run_iter=0 --batch_size=8 --data_dir=D",
         "--run_iter 0: must be a positive integer, or -1 for no limit"),
        ("--run_iter=-2 --batch_size=8 --data_dir=D",
         "--run_iter -2: must be a positive integer, or -1 for no limit"),
        ("--mode=training_benchmark --batch_size=8 --iter_unit=batch --num_iter=50",
         "--num_iter gives 50 steps: must be above --warmup_steps 50, or nothing is measured"),
        ("--image_size=64 --synthetic_data_size=32",
         "--synthetic_data_size 32: contradicts --image_size 64; both set the same value"),
        ("--amp --static_loss_scale=0", "--static_loss_scale 0: must be positive, or -1 for dynamic"),
        ("--amp --static_loss_scale=-2", "--static_loss_scale -2: must be positive, or -1 for dynamic"),
        ("--static_loss_scale=128", "--static_loss_scale 128: only used with --amp, which is not given"),
        ("--use_static_loss_scaling", "--use_static_loss_scaling: only used with --amp, which is not given"),
        ("--mode=evaluate --static_loss_scale=128",
         "--static_loss_scale 128: only used with --amp, which is not given"),
        ("--amp --use_static_loss_scaling --static_loss_scale=64",
         "--use_static_loss_scaling: stands for --static_loss_scale 128 and contradicts --static_loss_scale 64"),
        ("--amp --use_static_loss_scaling --static_loss_scale=-1",
         "--use_static_loss_scaling: stands for --static_loss_scale 128 and contradicts --static_loss_scale -1"),
        ("--cpu --gpu_id=0 --batch_size=8 --data_dir=D", "--cpu: contradicts --gpu_id and --gpu_memory_fraction"),
        ("--data_idx_dir=I", "--data_idx_dir I: only used with --dali, which is not given"),
        ("--head_lr_multiplier=0 --batch_size=8 --data_dir=D", "--head_lr_multiplier 0: must be a number above 0"),
        ("--head_lr_multiplier=-2 --batch_size=8 --data_dir=D", "--head_lr_multiplier -2: must be a number above 0"),
        ("--head_lr_multiplier=inf", "--head_lr_multiplier inf: must be a number"),
        ("--ema_decay=0 --batch_size=8 --data_dir=D", "--ema_decay 0: must be above 0 and below 1"),
        ("--ema_decay=1 --batch_size=8 --data_dir=D", "--ema_decay 1: must be above 0 and below 1"),
        ("--eval_weights=mean", "--eval_weights mean: must be one of raw, ema"),
        ("--arch=ssd320 --use_final_conv", "--use_final_conv: not used with --arch ssd320; leave the flag out"),
        ("--arch=ssd320 --rand_ops=2", "--rand_ops: not used with --arch ssd320; leave the flag out"),
        *(
            (f"--mode=train --batch_size=8 --data_dir=D --{flag}",
             f"--{flag.partition('=')[0]}: only used with --arch ssd320, which detects objects")
            for flag in ("vertical_flip", "rotate90", "scale_jitter=0.1:2.0", "min_visible=0.3", "mosaic=0.5",
                         "copy_paste=0.5")
        ),
        *(
            (f"--mode=train --batch_size=8 --data_dir=D --arch=ssd320 --scale_jitter={text}",
             f"--scale_jitter {text or repr(text)}: must be MIN:MAX, two factors from 0.05 to 4 in ascending order, "
             "such as 0.1:2.0")
            for text in ("", "2", "0.1:", "1:0.5", "0.01:1", "1:5", "0.1:2:3", "-1:2")
        ),
        ("--mode=train --batch_size=8 --data_dir=D --arch=ssd320 --mosaic=1.5",
         "--mosaic 1.5: must be a probability, at least 0 and at most 1"),
        ("--mode=train --batch_size=8 --data_dir=D --arch=ssd320 --min_visible=-0.5",
         "--min_visible -0.5: must be a share, at least 0 and at most 1"),
        *(
            (f"--arch=ssd320 --{flag}", f"--{flag.partition('=')[0]}: not used with --arch ssd320; leave the flag out")
            for flag in ("auto_augment=trivial", "gray=0.1", "blur=0.1", "cutmix=1",
                         "crop_sampling=uniform", "max_crop_area=0.5", "crop_aspect=2", "repeated_augmentation=3",
                         "train_image_size=64", "progressive_sizes=32:0,64:0.5", "eval_crop=0.95")
        ),
        ("--mode=train --batch_size=8 --data_dir=D --train_image_size=0",
         "--train_image_size 0: must be 1 to 16384 pixels"),
        ("--mode=train --batch_size=8 --data_dir=D --train_image_size=32 --progressive_sizes=32:0,64:0.5",
         "--progressive_sizes 32:0,64:0.5: contradicts --train_image_size 32; leave one out"),
        *(
            (f"--mode=train --batch_size=8 --data_dir=D --progressive_sizes={text}",
             f"--progressive_sizes {text or repr(text)}: must be {allowed}")
            for text, allowed in (
                *((text, "SIZE:SHARE,SIZE:SHARE and so on, where each share of the run is a number from 0 to below 1")
                  for text in ("", "32:0,64", "32:0,64:-1", "32.5:0")),
                ("32:0,0:0.5", "sizes of 1 to 16384 pixels, and 0 is not"),
                ("32:0,16385:0.5", "sizes of 1 to 16384 pixels, and 16385 is not"),
                ("32:0.2,64:0.5", "shares that rise from 0 to below 1"),
                ("32:0,64:1", "shares that rise from 0 to below 1"),
                ("32:0,64:0.5,96:0.5", "shares that rise from 0 to below 1"),
            )
        ),
        *(
            (f"--mode=train --batch_size=8 --data_dir=D --eval_crop={text}",
             f"--eval_crop {shown}: must be a share or a ratio such as 224/236, at least 0.1 and at most 1")
            for text, shown in (("224/0", "224/0"), ("all", "all"), ("236/224", "1.05357"), ("0.05", "0.05"))
        ),
        ("--mode=train --batch_size=8 --data_dir=D --auto_augment=rand --rand_magnitude=11",
         "--rand_magnitude 11.0: must be at least 0 and at most 10"),
        ("--mode=train --batch_size=8 --data_dir=D --symmetric",
         "--symmetric: only used with --quantize, which is not given"),
        ("--mode=train --batch_size=8 --data_dir=D --use_qdq",
         "--use_qdq: only used with --quantize, which is not given"),
        ("--mode=train --batch_size=8 --data_dir=D --per_channel",
         "--per_channel_weights: only used with --quantize, which is not given"),
        ("--mode=train --batch_size=8 --data_dir=D --quant_delay=0",
         "--quant_delay: only used with --quantize, which is not given"),
        ("--mode=train --batch_size=8 --data_dir=D --quantize --quant_delay=-1",
         "--quant_delay -1: must be 0 to 4611686018427387904 steps"),
        ("--batchsize=8", "--batchsize: unknown flag; did you mean --batch_size?"),
        ("--bach 8", "--bach: unknown flag; did you mean --batch_size?"),
        ("--epochs 8", "--epochs: unknown flag; --help all lists all flags"),
        ("--hlep", "--hlep: unknown flag; did you mean --help?"),
        ("trian", "trian: belongs to no flag; did you mean --mode=train?"),
        ("--batch-size 8", "--batch-size: unknown flag; did you mean --batch_size?"),
        ("-arch resnet50", "-arch: unknown flag; did you mean --arch?"),
        ("--learning 3", "--learning: unknown flag; --help all lists all flags"),
        ("--lr 3", "--lr: could be --lr_init or --lr_warmup_epochs"),
        ("resnet50", "resnet50: belongs to no flag; every argument is a flag, its value or an @recipe file"),
        ("-- --amp", "--: belongs to no flag; every argument is a flag, its value or an @recipe file"),
        ("@none.args", "@none.args: there is no recipe file none.args"),
    ],
)  # fmt: skip
def test_bad_command_lines_are_answered_with_a_sentence(arguments, message):
    assert message_of(*arguments.split()) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n--lr_inti 3\n", "--lr_inti: unknown flag; did you mean --lr_init? (a.args, line 2)"),
        ("--amp\n--lr_init fast\n", "--lr_init fast: must be a number (a.args, line 2)"),
        ("--lr_init 3\n--lr_i -3\n", "--lr_init -3.0: must be at least 0 and at most 1e+30 (a.args, line 2)"),
        ("--static_loss_scale 3\n", "--static_loss_scale 3: only used with --amp, which is not given (a.args, line 1)"),
        ("--data_idx_dir I\n", "--data_idx_dir I: only used with --dali, which is not given (a.args, line 1)"),
        ("--symmetric\n", "--symmetric: only used with --quantize, which is not given (a.args, line 1)"),
        ("--seed\n", "--seed: needs a value (a.args, line 1)"),
    ],
)  # fmt: skip
def test_an_error_in_a_recipe_names_file_and_line(recipe, text, message):
    assert message_of(recipe(text), *TRAIN) == message


def test_a_mistyped_recipe_is_refused_with_the_nearest(recipe):
    recipe("--amp\n")
    assert message_of("@b.args", *TRAIN) == "@b.args: there is no recipe file b.args; did you mean a.args?"


def test_an_error_that_the_command_line_made_names_no_recipe(recipe):
    assert (
        message_of(recipe("--lr_init 3\n"), *TRAIN, "--lr_init=-1")
        == "--lr_init -1.0: must be at least 0 and at most 1e+30"
    )


def test_a_score_is_taken_where_the_weights_tell_the_architecture():
    command = parse(["--mode=predict", "--to_predict=x", "--model_dir=M", "--min_score=0.25"], {})
    assert command.config.run.min_score == 0.25
    assert not command.notes
