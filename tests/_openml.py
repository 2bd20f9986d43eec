"""OpenML without a network: scikit-learn's `fetch_openml` itself, on what a small server answers.

The server stands in the place of HTTPS under `urllib.request.urlopen`, by its public
`install_opener`. So scikit-learn's parser, cache, checksum and errors are the real ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import urllib.request
from email.message import Message
from urllib.response import addinfourl

import numpy as np

HOST = "https://www.openml.org"
TABLE = "/data/v1/download/7"


class Server(urllib.request.HTTPSHandler):
    """Answers requests for one data set, or fails as it is told to.

    Attributes
    ----------
    asked : list of str
        The paths that were asked for.
    fails : callable or None
        Is given a path, and may raise, or return another (status, content).
    """

    def __init__(self, data_id, pixels, labels):
        super().__init__()
        self.asked, self.fails = [], None
        names = [f"pixel{i}" for i in range(1, pixels.shape[1] + 1)]
        lines = [[*row, label] for row, label in zip(pixels, labels, strict=True)]
        classes = sorted({str(label) for label in labels})
        head = ["@RELATION small", *(f"@ATTRIBUTE {name} real" for name in names)]
        head += [f"@ATTRIBUTE class {{{','.join(classes)}}}", "@DATA"]
        text = "\n".join([*head, *(",".join(map(str, line)) for line in lines), ""]).encode()
        description = {
            "id": str(data_id), "name": "small", "version": "1", "description": "A small one.",
            "format": "ARFF", "status": "active", "file_id": "7",
            "url": f"{HOST}{TABLE}/small.arff",
            "md5_checksum": hashlib.md5(text).hexdigest(),
        }  # fmt: skip
        features = [feature(i, name, "numeric") for i, name in enumerate(names)]
        features.append(feature(len(names), "class", "nominal") | {"nominal_value": classes})
        quality = {"name": "NumberOfInstances", "value": f"{len(lines)}.0"}
        documents = {
            "": {"data_set_description": description},
            "features/": {"data_features": {"feature": features}},
            "qualities/": {"data_qualities": {"quality": [quality]}},
        }
        self.answers = {
            f"/api/v1/json/data/{kind}{data_id}": json.dumps(document).encode()
            for kind, document in documents.items()
        } | {TABLE: text}

    def https_open(self, request):
        """Answer, instead of a connection."""
        path = request.selector
        self.asked.append(path)
        # Up to scikit-learn 1.6 the address ends here.
        status, content = 200, self.answers.get(TABLE if path.startswith(TABLE) else path)
        if self.fails is not None and (other := self.fails(path)) is not None:
            status, content = other
        if content is None:
            status, content = 404, b""
        response = addinfourl(io.BytesIO(content), Message(), request.full_url, status)
        response.msg = "as the test wants"
        return response


def feature(index, name, kind):
    """What OpenML says of a column; one that is not of numbers is the label."""
    return {
        "index": str(index), "name": name, "data_type": kind, "number_of_missing_values": "0",
        "is_target": str(kind != "numeric").lower(), "is_ignore": "false",
        "is_row_identifier": "false",
    }  # fmt: skip


class NoServer(urllib.request.HTTPSHandler):
    """Fails the test that asks it for anything."""

    def https_open(self, request):
        """Fail."""
        raise AssertionError(f"a test must not download anything: {request.full_url}")


def install(monkeypatch, handler):
    """Let `urlopen` ask the handler, without a proxy, until the end of the test."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
    monkeypatch.setattr(urllib.request, "_opener", None)  # what is put back
    urllib.request.install_opener(opener)


def table(published, rng=None):
    """Pixels and labels of a data set in OpenML's order, those to train on first."""
    rng = rng or np.random.default_rng(0)
    labels = [
        rng.permutation(np.repeat(np.arange(len(counts)), counts))
        for counts in (published.train, published.test)
    ]
    n = sum(map(len, labels))
    return rng.integers(256, size=(n, int(np.prod(published.planes)))), np.concatenate(labels)
