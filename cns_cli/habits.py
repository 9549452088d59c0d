"""What people type by habit, of git, of other trainers and of Python, and what it is called here.

Nothing of it is a second name: a word that is no verb is answered with the verb that does it, and whatever was typed
behind it stands in that answer where it fits. This module knows words alone; `main` asks it when a word is wrong.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

# {what does it: the words for it}. A capital is a place: what was typed behind the word takes it.
_VERBS = {
    "init": "create new setup start",
    "clone ADDRESS": "download",
    "add NAME IMAGES/": "train learn teach tune finetune fine-tune dreambooth commit",
    "import FILE NAME": "load lora adapter embedding",
    "generate PROMPT": "sample draw image images picture txt2img t2i prompt run infer inference predict",
    "check": "test eval evaluate score measure validate judge",
    "report": "html page summary",
    "status": "ls list concepts st models",
    "log": "history commits lg",
    "show REV": "info inspect describe view cat get",
    "blame": "annotate why",
    "switch NAME": "use go",
    "branch": "branches",
    "tag": "tags",
    "mv OLD NEW": "rename move",
    "rm NAME": "remove delete del forget",
    "erase NOUN": "unlearn ablate suppress censor",
    "merge REV": "combine join blend rebase",
    "cherry-pick REV": "cherrypick pick",
    "reset REV": "rewind",
    "undo": "rollback back",
    "mlflow restore": "restore",
    "mlflow sync": "sync",
    "push": "upload share publish",
    "pull": "update",
    "remote": "remotes",
    "promote": "release deploy",
    "export FOLDER": "save convert pack",
    "ui": "gui web dashboard browser serve server",
    "gc": "prune clean cleanup",
    "config": "settings set options",
    "doctor": "env diagnose",
    "--version": "version",
    "help": "man usage",
}


def _by_word(table: Mapping[str, str]) -> dict[str, str]:
    """Word -> what it stands for, of a table that has it the other way around."""
    return {word: meant for meant, words in table.items() for word in words.split()}


VERB_OF = _by_word(_VERBS)

_OPTIONS = {
    "--class": "--class-noun --class-prompt --class-token --class-name --noun",
    "--token": "--trigger --trigger-word --instance-prompt --placeholder-token --modifier-token",
    "--steps": "--max-train-steps --train-steps --num-inference-steps --num-steps --iterations --iters",
    "--lr": "--unet-lr --rate",
    "--resolution": "--image-size",
    "--vectors": "--num-vectors",
    "--samples": "--sample-every-n-steps --sample-every --sample-steps --validation-steps",
    "--preset": "--profile",
    "--continue": "--resume-from-checkpoint --resume-from --network-weights",
    "--init": "--initializer-token --init-word",
    "--batch": "--batch-size --train-batch-size",
    "--prior": "--prior-preservation --num-class-images --with-prior-preservation --reg-images",
    "--guidance": "--cfg --cfg-scale --guidance-scale --scale",
    "--negative": "--negative-prompt --neg --uncond",
    "-n": "--num --number --count --num-images --num-images-per-prompt --n-samples",
    "--at": "--rev --revision --commit --checkpoint",
    "--out": "--output --output-dir --outdir --save --file",
    "--device": "--gpu --cuda",
    "--message": "--msg",
    "--dry-run": "--dryrun --estimate",
    "--replace": "--overwrite",
    "--repeats": "--num-repeats",
    "--masks": "--masked-loss --masked-training --alpha-mask --conditioning-data-dir --mask-path",
    "--metric": "--metrics",
    "--json": "--format=json --as-json",
}
# {format of `cns export`: words for it of other programs}.
_FORMATS = {
    "checkpoint": "single-file single safetensors ckpt model",
    "embedding": "textual-inversion ti embeddings pt",
    "lora": "peft kohya",
    "lycoris": "locon loha lokr",
    "diffusers": "folder pipeline huggingface hf",
}
FORMAT_OF = _by_word(_FORMATS)
# {verb: options that git needs there, and cns does not}.
_NEEDLESS = {
    "reset": "--hard",
    "checkout": "-f --force",
    "branch": "-a --all -l --list",
    "tag": "-l --list -a --annotate",
    "config": "-l --list --local",
    "push": "-u --set-upstream",
    "rm": "-f --force -r",
    "status": "-s --short",
}
OPTION_OF = _by_word(_OPTIONS)


def command_for(word: str, behind: Sequence[str], verbs: Collection[str]) -> str:
    """Return the command that does what a word which is no verb was meant to do; empty where nobody knows.

    Args:
        word: What was typed in a verb's place.
        behind: What was typed behind it.
        verbs: Every verb that there is.
    """
    lower = word.lower()
    does = lower if lower in (*verbs, "help") else VERB_OF.get(lower) or _close(lower, verbs)
    if not does:
        return ""
    verb = [part for part in does.split() if not part.isupper() and not part.endswith("/")]
    return shlex.join(["cns", *verb, *behind]) if behind else f"cns {does}"


def about_option(word: str, options: Collection[str], verb: str = "") -> str:
    """Return what to type for an option that a command does not have; empty where nobody knows.

    Args:
        word: What was typed.
        options: Every option of the command.
        verb: Its name.
    """
    if word in _NEEDLESS.get(verb, "").split():
        return f"there is no option {word}: cns {verb} needs none for that"
    if word == "--epochs" and "--steps" in options:
        from cns_cli.porcelain.models.defaults import family_defaults

        by_steps = f"--steps, EPOCHS * IMAGES / images a step ({family_defaults('batch_size')})"
        return f"a training is counted in steps: expected --repeats, how often each image is seen, or {by_steps}"
    meant = OPTION_OF.get(word.replace("_", "-"), "")
    return f"there is no option {word}: expected {meant}" if meant in options else ""


def _close(word: str, verbs: Collection[str]) -> str:
    begun = [verb for verb in verbs if verb.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    near = get_close_matches(word, [*verbs, *VERB_OF], n=1, cutoff=0.7)
    return VERB_OF.get(near[0], near[0]) if near else ""
