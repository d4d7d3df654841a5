"""Files of history: how far each has been read, and which of its lines were rejected."""

from typing import Any

from django.db import models

from scoring.models.facts import Source
from scoring.models.jobs import Job


class ImportedFile(models.Model):
    """A file that is, or was, read into a source. All records before the first `records` are settled.

    The counts are of those records. The same file is known again by its fingerprint, under any name.
    """

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="files")
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="files")
    fingerprint = models.BinaryField(max_length=32)  # SHA-256 of its size, its ends, and how it is read
    name = models.TextField()
    records = models.BigIntegerField(default=0)
    accepted = models.BigIntegerField(default=0)
    duplicate = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    began_at = models.DateTimeField()
    changed_at = models.DateTimeField(db_index=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "fingerprint"], name="file_once")]

    def __str__(self) -> str:
        return f"{self.name} into {self.source_id}"


class RejectedLine(models.Model):
    """A line that stated nothing to store, as it stood in the file, with the reason."""

    file = models.ForeignKey(ImportedFile, on_delete=models.CASCADE, related_name="rejected_lines")
    line = models.BigIntegerField()  # from 1
    code = models.CharField(max_length=64)
    message = models.TextField()
    text = models.BinaryField()  # bytes: it may be rejected for being no text

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "line"], name="rejected_line_once")]

    def __str__(self) -> str:
        return f"line {self.line}: {self.code}"

    def told(self) -> dict[str, Any]:
        """What people get to see of it: the file, the line's number and text, and the reason."""
        text = bytes(self.text).decode(errors="replace")
        return {
            "file": self.file.name,
            "line": self.line,
            "code": self.code,
            "message": self.message,
            "text": text,
        }
