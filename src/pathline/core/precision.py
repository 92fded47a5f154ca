"""In which number format a method is trained."""

import torch

from pathline.core.errors import MethodError


def precision_mode(asked: str, allowed: str, device: torch.device) -> str:
    """Fabric's name for "auto", "fp32" or "bf16" on `device`; a method that allows "fp32" only is never run in bf16."""
    if asked not in ("auto", "fp32", "bf16"):
        raise MethodError(f"precision is '{asked}'; choose auto, fp32 or bf16")
    if "fp32" in (asked, allowed):
        return "32-true"
    return "bf16-mixed" if asked == "bf16" else fast_precision(device)


def fast_precision(device: torch.device) -> str:
    """ "bf16-mixed" where the device multiplies bfloat16 natively, else "32-true"."""
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return "bf16-mixed" if able.get("amx_bf16") or able.get("avx512_bf16") else "32-true"
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "32-true"
