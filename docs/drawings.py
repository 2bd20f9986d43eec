"""Draw the pictures of the page "How it is built": ``python docs/drawings.py``."""

from pathlib import Path

GUIDE = Path(__file__).parent / "guide"
WIDTH, HEIGHT = 172, 62  # of a box
COLOURS = {  # of a room: fill and border
    "face": ("#fdecc8", "#b7791f"),
    "neural": ("#dbeafe", "#2b6cb0"),
    "training": ("#d3f0f2", "#2c7a7b"),
    "layers": ("#d9f2e0", "#2f855a"),
    "shared": ("#ece7f8", "#6b46c1"),
    "cukernels": ("#f0e2dc", "#9c4221"),
    "data": ("#ffffff", "#4a5568"),
}
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
  font-family="DejaVu Sans, Verdana, sans-serif" role="img" aria-label="{label}">
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
  orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#2d3748"/></marker></defs>
<rect x="1" y="1" width="{right}" height="{bottom}" rx="10" fill="#fcfcfa" stroke="#cbd5e0"/>"""


def text(x, y, words, size=12, colour="#1a202c", anchor="middle", more=""):
    """Words at a point, which is their middle unless `anchor` says otherwise."""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    place = f'x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {place} {more}>{words}</text>"


def box(x, y, room, name, *lines):
    """A file, by its name, and what it does with what passes through it."""
    fill, border = COLOURS[room]
    frame = f'x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"'
    drawn = [f'<rect {frame} fill="{fill}" stroke="{border}" stroke-width="1.3"/>']
    middle, top = x + WIDTH / 2, y + (20 if len(lines) == 2 else 26)
    drawn.append(text(middle, top, name, 12.5, more='font-weight="bold"'))
    drawn += [text(middle, top + 16 + 15 * i, line, 11.5) for i, line in enumerate(lines)]
    return drawn


def arrow(points, label="", at=None, dashed=False):
    """A way through points; its label stands at a point."""
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    line = f'<path d="{path}" fill="none" stroke="#2d3748" stroke-width="1.5"{dash}'
    drawn = [f'{line} marker-end="url(#tip)"/>']
    return drawn + ([text(*at, label, 11, "#4a5568")] if label else [])


def group(x, y, width, height, label, anchor="end"):
    """A frame around boxes, which says what they have in common."""
    frame = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="8"'
    drawn = f'<rect {frame} fill="none" stroke="#718096" stroke-dasharray="3 3"/>'
    at = x + (width - 12 if anchor == "end" else 12)
    return [drawn, text(at, y + 20, label, 11.5, "#4a5568", anchor, 'font-style="italic"')]


def legend(y, rooms):
    """The colours of the rooms."""
    drawn = []
    for i, (room, name) in enumerate(rooms.items()):
        fill, border = COLOURS[room]
        frame = f'x="{20 + 205 * i}" y="{y}" width="14" height="14" rx="3"'
        drawn.append(f'<rect {frame} fill="{fill}" stroke="{border}"/>')
        drawn.append(text(40 + 205 * i, y + 11.5, name, 11, anchor="start"))
    return drawn


def save(name, label, width, height, *parts):
    """Write a picture; `label` is for those who cannot see it."""
    head = HEAD.format(label=label, width=width, height=height, right=width - 2, bottom=height - 2)
    lines = [head, *(line for part in parts for line in part), "</svg>"]
    (GUIDE / f"{name}.svg").write_text("\n".join(lines) + "\n")


def fit():
    """What happens in ``MLPClassifier.fit``."""
    x = [20 + 205 * i for i in range(4)]
    across = [(a + WIDTH, b) for a, b in zip(x, x[1:], strict=False)]
    return (
        box(x[0], 20, "face", "mlp.py", "the parameters"),
        box(x[1], 20, "neural", "prepare.py", "X, y are checked;", "labels become indicators"),
        box(x[2], 20, "layers", "dense.py", "layers, without weights"),
        box(x[3], 20, "training", "network.py", "all weights: one row", "of an array"),
        *(arrow([(a, 51), (b, 51)]) for a, b in across),
        arrow([(x[3] + 86, 82), (x[3] + 86, 122)]),
        box(x[3], 122, "neural", "fit.py", "prepared fits are", "one stack of models"),
        box(x[2], 122, "training", "loop.py", "the one training loop"),
        arrow([(x[3], 153), (x[2] + WIDTH, 153)]),
        arrow([(x[2], 153), (106, 153), (106, 240)], "epoch after epoch", (300, 146)),
        group(10, 206, 827, 240, "a step of a minibatch, of all models"),
        box(x[0], 240, "training", "steps.py", "which rows; rate,", "penalty, weights"),
        box(x[1], 240, "training", "network.py", "layer after layer"),
        box(x[2], 240, "layers", "layer.py", "forward returns y and", "how to go back"),
        box(x[3], 240, "cukernels", "matmul", "x @ w + b, and the", "activation"),
        *(arrow([(a, 271), (b, 271)]) for a, b in across),
        arrow([(x[3] + 86, 302), (x[3] + 86, 348)], "scores", (x[3] + 108, 329)),
        box(x[3], 348, "training", "objective.py", "loss and its gradient:",
            "softmax_cross_entropy"),
        box(x[2], 348, "layers", "layer.py", "backward, by", "matmul_backward"),
        box(x[1], 348, "training", "optimizers.py", "one op moves all", "weights: adam"),
        arrow([(x[3], 379), (x[2] + WIDTH, 379)], "dz", (x[2] + 189, 372)),
        arrow([(x[2], 379), (x[1] + WIDTH, 379)], "dw", (x[1] + 190, 372)),
        arrow([(x[1], 379), (106, 379), (106, 302)], "the next step", (106, 398), dashed=True),
        arrow([(x[1] + 86, 410), (x[1] + 86, 472)], "after the last epoch", (x[1] + 148, 464)),
        box(x[1], 472, "neural", "fit.py", "coefs_, loss_curve_:", "NumPy arrays"),
        legend(
            552,
            {"face": "estimators", "neural": "estimators/neural",
             "training": "estimators/training", "layers": "estimators/layers",
             "cukernels": "cukernels"},
        ),
    )  # fmt: skip


def matmul():
    """What happens in ``matmul``."""
    x = [20 + 205 * i for i in range(4)]
    return (
        box(x[0], 90, "data", "matmul(a, b, bias)", "NumPy arrays", "or CuPy arrays"),
        box(x[1], 90, "shared", "op.py", "dtypes and shapes fit", "(once for each shape)"),
        box(x[2], 90, "shared", "registry.py", "the array's type says", "which body runs"),
        arrow([(x[0] + WIDTH, 121), (x[1], 121)]),
        arrow([(x[1] + WIDTH, 121), (x[2], 121)]),
        box(x[3], 10, "cukernels", "matmul.py", "what it means; runs", "where no other body is"),
        box(x[3], 90, "cukernels", "matmul_numpy.py", "NumPy: the faster body"),
        box(x[3], 170, "cukernels", "matmul_cuda.py", "CuPy: shapes and", "strides of a product"),
        arrow([(x[2] + WIDTH, 110), (x[3] - 16, 110), (x[3] - 16, 41), (x[3], 41)]),
        arrow([(x[2] + WIDTH, 121), (x[3], 121)]),
        arrow([(x[2] + WIDTH, 132), (x[3] - 16, 132), (x[3] - 16, 201), (x[3], 201)]),
        group(10, 258, 827, 104, "from Python to the device", "start"),
        arrow([(x[3] + 86, 232), (x[3] + 86, 284)]),
        box(x[3], 284, "cukernels", "gemm_plan.py", "tile, grid, split", "(once for each shape)"),
        box(x[2], 284, "shared", "kernel.py", "the one door: checks,", "casts, launches"),
        box(x[1], 284, "shared", "source.py", "the text of the .cu file,", "to be compiled once"),
        arrow([(x[3], 315), (x[2] + WIDTH, 315)]),
        arrow([(x[2], 315), (x[1] + WIDTH, 315)], dashed=True),
        group(10, 392, 827, 104, "on the device, a block for each tile of y"),
        arrow([(x[2] + 86, 346), (x[2] + 86, 382), (106, 382), (106, 418)]),
        box(x[0], 418, "cukernels", "matmul.cu", "which tile, and where", "its operands lie"),
        box(x[1], 418, "cukernels", "gemm.cuh", "the main loop over k"),
        box(x[2], 418, "cukernels", "fused.cuh", "the epilogue: bias,", "then the activation"),
        box(x[3], 418, "data", "y", "a CuPy array"),
        *(arrow([(a + WIDTH, 449), (b, 449)]) for a, b in zip(x, x[1:], strict=False)),
        legend(
            516,
            {"shared": "cukernels/runtime, gpu", "cukernels": "cukernels/matmul, activations"},
        ),
    )  # fmt: skip


if __name__ == "__main__":
    save("fit", "The way of X through MLPClassifier.fit", 847, 582, *fit())
    save("matmul", "The way of an array through matmul", 847, 546, *matmul())
