"""One document on its way through the editor: its text, and its sheet while it is edited as sentences. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pqlapp.desk.editor import acts
from pqlapp.desk.editor.kinds import Cells
from pqlapp.desk.editor.sheet import data_of, sheet_of
from scoring import language
from scoring.language import Document, Fault, Invalid
from scoring.language.dumping import as_yaml

SENTENCES, YAML = "sentences", "yaml"


@dataclass(frozen=True, slots=True)
class Edited:
    """What stands in the editor. Of the two views one is shown; the text is what the sheet was made of."""

    text: str
    view: str = YAML
    sheet: Cells = field(default_factory=dict)
    focus: str = ""  # the row or cell to go on at

    @property
    def faults(self) -> list[Fault]:
        """Everything that is wrong with the document."""
        return _read(self)[1]

    @property
    def document(self) -> Document | None:
        """The document, if nothing is wrong with it."""
        return _read(self)[0]

    @property
    def written(self) -> str:
        """The document as YAML, valid or not; its own text where the sentences changed nothing of it."""
        if self.view == YAML:
            return self.text
        document = self.document
        if document is None:
            return as_yaml(data_of(self.sheet)[0])
        return self.text if document == _parsed(self.text) else language.to_yaml(document)


def opened(text: str, *, view: str = SENTENCES) -> Edited:
    """Return a text in the editor: as sentences, or as YAML where it is at fault or no sentences tell all of it."""
    document = _parsed(text) if view == SENTENCES else None
    if document is None:
        return Edited(text)
    data = language.dump(document)
    sheet = sheet_of(data)
    return Edited(text, SENTENCES, sheet) if data_of(sheet) == (data, []) else Edited(text)


def from_form(fields: Mapping[str, str]) -> Edited:
    """Return what a form of the editor holds. Raises acts.NoSuchAct where it is no such form."""
    text = fields.get("_text", "").replace("\r\n", "\n")
    if fields.get("_view") != SENTENCES:
        return Edited(text)
    cells = {name: value for name, value in fields.items() if not name.startswith(("_", "csrf"))}
    return Edited(text, SENTENCES, acts.settled(acts.sheet_from(cells)))


def done(edited: Edited, act: str) -> Edited:
    """Return the document after a button: another view, or a change of the sheet. Raises acts.NoSuchAct."""
    if act == f"show {YAML}":
        # Of two rows with one name YAML could show one only: first they are told apart.
        lost = edited.view == SENTENCES and data_of(edited.sheet)[1]
        return edited if lost else Edited(edited.written)
    if act == f"show {SENTENCES}":
        return opened(edited.text) if edited.view == YAML else edited
    if edited.view == YAML or act == "refresh":
        return edited
    sheet, focus = acts.do(edited.sheet, act)
    return replace(edited, sheet=sheet, focus=focus)


def _parsed(text: str) -> Document | None:
    try:
        return language.parse(text)
    except Invalid:
        return None


def _read(edited: Edited) -> tuple[Document | None, list[Fault]]:
    if edited.view == YAML:
        return _or_faults(language.parse, edited.text)
    data, own = data_of(edited.sheet)
    document, faults = _or_faults(language.load, data)
    return (None if own else document), own + faults


def _or_faults(read: Any, given: object) -> tuple[Document | None, list[Fault]]:
    try:
        return read(given), []
    except Invalid as invalid:
        return None, invalid.faults
