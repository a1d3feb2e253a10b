"""Matrix products that are summed in float32 whatever the dtype of their factors.

The gradients of adapter rows are float32 and lie in one flat tensor; the activations they come from may be bfloat16.

Shapes: B matrices, n rows, k summed, m columns.
"""

import torch
from torch import Tensor

# `torch.baddbmm` has an out_dtype too, which would spare a pass over the gradient. In torch 2.13 its shape cannot be
# inferred without running it, so nothing that calls it can be compiled.
_NARROW = (torch.bfloat16, torch.float16)


def bmm_into(out_Bnm: Tensor, a_Bnk: Tensor, b_Bkm: Tensor, *, alpha: float = 1.0, beta: float = 0.0) -> Tensor:
    """out = beta * out + alpha * a @ b, in place and returned. With beta = 0 what `out` held is not read, NaN neither.

    `a` and `b` are of one dtype, that of `out` or a narrower one, and need not be contiguous; `out` may be a view of
    the flat gradient. Nothing is recorded for autograd.

    On CUDA the product of 16-bit factors leaves the float32 accumulators as it is. No CPU kernel does that: there each
    entry of the product is rounded to the factors' dtype once, relatively at most 2^-9 in bfloat16, and `beta * out` is
    added in float32.
    """
    with torch.no_grad():
        # On a CPU `out` would be filled matrix by matrix, unless all of it is contiguous: a temporary is faster there.
        if a_Bnk.dtype == out_Bnm.dtype and not out_Bnm.is_cpu:
            return torch.baddbmm(out_Bnm, a_Bnk, b_Bkm, beta=beta, alpha=alpha, out=out_Bnm)
        wide = out_Bnm.is_cuda and out_Bnm.dtype == torch.float32 and a_Bnk.dtype in _NARROW
        if wide and beta == 0 and alpha == 1:
            return torch.bmm(a_Bnk, b_Bkm, out_dtype=torch.float32, out=out_Bnm)
        product_Bnm = torch.bmm(a_Bnk, b_Bkm, out_dtype=torch.float32) if wide else torch.bmm(a_Bnk, b_Bkm)
        if beta == 0:
            return torch.mul(product_Bnm.to(out_Bnm.dtype), alpha, out=out_Bnm)
        if beta != 1:
            out_Bnm.mul_(beta)
        return out_Bnm.add_(product_Bnm, alpha=alpha)
