"""Write README.md, the page of the gallery, from the docstrings of the numbered examples."""

import ast
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """\
# Gallery

The systems of two lectures on feature learning, from nearest neighbours to convolutional networks,
on real images, and then how to search for good settings of them. Each script explains itself in its
docstring, prints what it finds, draws one picture and takes less than a minute on two cores:

```console
python examples/03_perceptron.py            # writes examples/gallery/03_perceptron.png
python examples/03_perceptron.py --quick    # small settings, some seconds
```

They need the extra `plot`: `pip install '.[plot]'`, and the last one `cluster` as well. The digits
are scikit-learn's, of 8 x 8 pixels, or MNIST's where the environment variable `CUKERNELS_DATA`
names the folder of its four files. These pictures are of MNIST, but for those of examples 5 and 10,
which have no digits in them.
"""


def examples():
    """The numbered scripts, each with the title and the text of its docstring, in Markdown.

    The docstrings are reStructuredText, as the manual's gallery wants them.
    """
    for path in sorted(HERE.glob("[0-9]*.py")):
        title, _, text = ast.get_docstring(ast.parse(path.read_text())).partition("\n\n")
        yield path, title.splitlines()[0], text.replace("::\n\n    ", ":\n\n    ")


def page():
    """The text of README.md."""
    parts = [HEAD]
    for path, title, text in examples():
        number = int(path.name[:2])
        parts.append(
            f"## {number}. {title}\n\n"
            f"[![{title}](gallery/{path.stem}.png)]({path.name})\n\n"
            f"{text}\n\n"
            f"[{path.name}]({path.name})\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    (HERE / "README.md").write_text(page())
