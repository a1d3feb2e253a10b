"""Small matrix products for compiled passes, as quick on one thread as a library's are at these sizes.

What they are given may overhang: rows in fours, so that each vector that is read is used four times.

Shapes: T rows in hand, I summed over, R rows of the other factor; p rows of a target, q terms, C columns.
"""

from __future__ import annotations

import numpy as np

from bora_trainer.compiled_passes import compiled


def _dots(x_TI, count, w_RI, scale, to_TS, column):
    """to[t, column + r] = scale * x_t . w_r of `count` rows t, rounded up to fours: up to three behind them are read
    and written too, and mean nothing.
    """
    rank, inputs = w_RI.shape
    for t in range(0, count, 4):
        for r in range(0, rank, 4):
            r1, r2, r3 = min(r + 1, rank - 1), min(r + 2, rank - 1), min(r + 3, rank - 1)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0)
            d0 = d1 = d2 = d3 = e0 = e1 = e2 = e3 = np.float32(0)
            for i in range(inputs):
                x0, x1, x2, x3 = x_TI[t, i], x_TI[t + 1, i], x_TI[t + 2, i], x_TI[t + 3, i]
                w0, w1, w2, w3 = w_RI[r, i], w_RI[r1, i], w_RI[r2, i], w_RI[r3, i]
                a0 += x0 * w0
                a1 += x0 * w1
                a2 += x0 * w2
                a3 += x0 * w3
                b0 += x1 * w0
                b1 += x1 * w1
                b2 += x1 * w2
                b3 += x1 * w3
                d0 += x2 * w0
                d1 += x2 * w1
                d2 += x2 * w2
                d3 += x2 * w3
                e0 += x3 * w0
                e1 += x3 * w1
                e2 += x3 * w2
                e3 += x3 * w3
            to_TS[t, column + r], to_TS[t, column + r1] = scale * a0, scale * a1
            to_TS[t, column + r2], to_TS[t, column + r3] = scale * a2, scale * a3
            to_TS[t + 1, column + r], to_TS[t + 1, column + r1] = scale * b0, scale * b1
            to_TS[t + 1, column + r2], to_TS[t + 1, column + r3] = scale * b2, scale * b3
            to_TS[t + 2, column + r], to_TS[t + 2, column + r1] = scale * d0, scale * d1
            to_TS[t + 2, column + r2], to_TS[t + 2, column + r3] = scale * d2, scale * d3
            to_TS[t + 3, column + r], to_TS[t + 3, column + r1] = scale * e0, scale * e1
            to_TS[t + 3, column + r2], to_TS[t + 3, column + r3] = scale * e2, scale * e3


def _add_products(to, count, x_qC, columns, w, first, column, terms):
    """to[p, c] += sum over q < `terms` of w[first + q, column + p] * x[q, c], for p < `count` and c < `columns`.

    Each number is summed in the order of q. A last odd p is computed beside itself, a missing q as 0 times the last.
    """
    for p in range(0, count, 2):
        last = min(p + 1, count - 1)
        for q in range(0, terms, 4):
            q0, q1, q2, q3 = q, min(q + 1, terms - 1), min(q + 2, terms - 1), min(q + 3, terms - 1)
            a0, b0 = w[first + q0, column + p], w[first + q0, column + last]
            a1, b1 = w[first + q1, column + p], w[first + q1, column + last]
            a2, b2 = w[first + q2, column + p], w[first + q2, column + last]
            a3, b3 = w[first + q3, column + p], w[first + q3, column + last]
            if q + 1 >= terms:
                a1 = b1 = np.float32(0)
            if q + 2 >= terms:
                a2 = b2 = np.float32(0)
            if q + 3 >= terms:
                a3 = b3 = np.float32(0)
            if last == p:
                b0 = b1 = b2 = b3 = np.float32(0)
            for c in range(columns):
                x0, x1, x2, x3 = x_qC[q0, c], x_qC[q1, c], x_qC[q2, c], x_qC[q3, c]
                to[p, c] = to[p, c] + a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                to[last, c] = to[last, c] + b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3


dots = compiled(_dots, fastmath={"reassoc", "contract"})  # sums as vectors
add_products = compiled(_add_products, fastmath={"contract"})  # in their order, so that no bit depends on the columns
