"""Where files come from: a web server or an S3 bucket, behind one call that opens a file at an offset.

Errors are of two kinds. `Transient`: another attempt may succeed (a dropped connection, a timeout, 429, 5xx).
`UserError`: it will not (no permission, no such file). No message holds a credential: of S3's answers only
their codes are shown.
"""

import email.utils
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from typing import Any, Protocol

from configs.loader import UserError

USER_AGENT = "arxiv-to-model/0.1"
TIMEOUT_S = 60.0  # without a byte; then the connection counts as dead
LONGEST_RETRY_AFTER_S = 3600.0
RETRIED = {408, 425, 429, 500, 502, 503, 504}
# Prices of AWS in us-east-1 for data that leaves it, and for GET requests, in November 2026.
S3_USD_PER_GB, S3_USD_PER_REQUEST = 0.09, 0.4e-6


class Transient(Exception):
    """Another attempt may succeed. `retry_after_s`: how long the server asks to wait, 0 if it does not."""

    def __init__(self, why: str, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class NotThere(UserError):
    """The source has no such file."""


@dataclass
class Answer:
    """An open response. `start`: offset of its first byte; `total`: size of the file, None if not stated."""

    start: int
    total: int | None
    _body: Any
    _failures: tuple[type[Exception], ...] = (OSError, HTTPException)

    def read(self, n_bytes: int) -> bytes:
        """The next bytes, b"" at the end or where the connection ended. Raises Transient."""
        try:
            data: bytes = self._body.read(n_bytes)
        except self._failures as error:
            raise Transient(f"{type(error).__name__} while reading") from None
        return data

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._body.close()


class Source(Protocol):
    """A folder of files somewhere else."""

    where: str  # for messages
    usd_per_gb: float
    usd_per_request: float

    def open(self, name: str, start: int = 0) -> Answer:
        """Open the file `name` from the byte `start`. Raises Transient or UserError."""
        ...


class WebSource:
    """Files below the URL of a web server, such as a mirror of arXiv's bucket."""

    usd_per_gb = usd_per_request = 0.0

    def __init__(self, url: str, user_agent: str = USER_AGENT, timeout_s: float = TIMEOUT_S) -> None:
        """Raises UserError unless `url` is a plain http(s) URL."""
        parts = urllib.parse.urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise UserError(
                "--base-url: holds a user name, a password or a query, which would end up in logs; give the "
                "plain URL of the folder"
            )
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"--base-url {url!r}: expected https://HOST/FOLDER")
        self.where, self._user_agent, self._timeout_s = url.rstrip("/"), user_agent, timeout_s

    def open(self, name: str, start: int = 0) -> Answer:
        """As `Source.open`."""
        url = f"{self.where}/{urllib.parse.quote(name)}"
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 (http or https: checked above)
        try:
            answer = urllib.request.urlopen(request, timeout=self._timeout_s)  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            raise _refusal(url, error.code, error.headers.get("Retry-After")) from None
        except urllib.error.URLError as error:
            raise Transient(f"{url}: {error.reason}") from None
        except (OSError, HTTPException) as error:
            raise Transient(f"{url}: {type(error).__name__}") from None
        if answer.status == 206:
            return Answer(*_content_range(url, answer.headers.get("Content-Range", "")), answer)
        return Answer(0, answer.length, answer)


class BucketSource:
    """Files below a prefix of an S3 bucket whose transfers the requester pays.

    Credentials and endpoint are boto3's own business (environment, ~/.aws, AWS_ENDPOINT_URL).
    """

    usd_per_gb, usd_per_request = S3_USD_PER_GB, S3_USD_PER_REQUEST

    def __init__(self, bucket: str, prefix: str, timeout_s: float = TIMEOUT_S, connections: int = 1) -> None:
        """Raises UserError if boto3 is missing or finds no credentials."""
        if not find_spec("boto3"):
            raise UserError(
                "the bucket needs boto3: pip install -e '.[download]', or give a mirror with --base-url"
            )
        import boto3
        import botocore.exceptions
        from botocore.config import Config as ClientConfig
        from urllib3.exceptions import HTTPError

        self.where, self._bucket, self._prefix = f"s3://{bucket}/{prefix}", bucket, prefix
        session = boto3.Session(region_name="us-east-1")
        self._refused = botocore.exceptions.ClientError
        self._failures = (botocore.exceptions.BotoCoreError, HTTPError, OSError)
        if session.get_credentials() is None:
            raise UserError(
                f"{self.where}: the requester pays, so AWS wants to know who asks, and boto3 finds no "
                "credentials: set AWS_PROFILE or run `aws configure`"
            )
        # One attempt: transfer.py repeats requests, and counts what they cost.
        settings = ClientConfig(
            retries={"total_max_attempts": 1},
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            max_pool_connections=connections,
        )
        self._client = session.client("s3", config=settings)

    def open(self, name: str, start: int = 0) -> Answer:
        """As `Source.open`."""
        asked = {"Bucket": self._bucket, "Key": self._prefix + name, "RequestPayer": "requester"}
        if start:
            asked["Range"] = f"bytes={start}-"
        url = self.where + name
        try:
            answer = self._client.get_object(**asked)
        except self._refused as error:
            facts = error.response["ResponseMetadata"]
            code = error.response.get("Error", {}).get("Code", "")
            raise _refusal(
                url, facts["HTTPStatusCode"], facts.get("HTTPHeaders", {}).get("retry-after"), code
            ) from None
        except self._failures as error:
            raise Transient(f"{url}: {type(error).__name__}") from None
        body = answer["Body"]
        if "ContentRange" in answer:
            return Answer(*_content_range(url, answer["ContentRange"]), body, self._failures)
        return Answer(0, answer["ContentLength"], body, self._failures)


def _refusal(url: str, status: int, retry_after: str | None, code: str = "") -> Transient | UserError:
    said = f"{url}: the server answers {status}{f' ({code})' if code else ''}"
    if status in RETRIED or code == "SlowDown":
        return Transient(said, _seconds(retry_after))
    if status == 416:
        return Transient(f"{said}: the file there is shorter")
    if status in (404, 410):
        return NotThere(f"{said}: no such file there")
    if status in (401, 403):
        return UserError(f"{said}: it allows no access. Of a bucket: check the account, and that it may pay")
    return UserError(f"{said}: see in a browser what it says")


def _seconds(retry_after: str | None) -> float:
    """The seconds of a Retry-After header, which holds a number or a date (RFC 9110, 10.2.3)."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)  # in this order: max(0.0, nan) is 0.0


def _content_range(url: str, header: str) -> tuple[int, int | None]:
    """(offset, size of the file) from `bytes 5-9/10`. Raises Transient if the header says something else."""
    unit, _, numbers = header.partition(" ")
    span, _, total = numbers.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdecimal():
        raise Transient(f"{url}: an answer in parts without its place ({header[:40]!r})")
    return int(first), int(total) if total.isdecimal() else None
