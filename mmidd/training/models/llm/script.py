r"""Dialogues as token sequences with places for embeddings (KFD, arXiv 2503.14853, section 3.2).

    BOS ### Human: <Img> IMAGE </Img> FORGERY description score question \n### Assistant: answer \n###

Further turns go on with ` Human:`. Every text between two places is tokenised by itself, in training as in
generation, so the prompt of an answer is the same sequence in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any, Literal

from mmidd.dialogue.conversation import Message, fill_score
from mmidd.dialogue.opening import Opening, split_opening
from mmidd.errors import UsageError
from mmidd.training.models.llm.sequence import FORGERY, IGNORE, IMAGE, Encoded

ORDERS: dict[str, tuple[str, ...]] = {
    "paper": ("image", "forgery", "description", "score", "question"),
    "release": ("image", "score", "forgery", "description", "question"),
}

_HUMAN, _NEXT_HUMAN, _ASSISTANT, END = "### Human:", " Human:", "\n### Assistant:", "\n###"
_LONGEST_END = 2 * len(END)
"""Tokens within which the mark must show, one for each character and as many for what leads to it."""

_NEEDED = (_HUMAN, _NEXT_HUMAN, "<Img>", "</Img>", _ASSISTANT, END, "0123456789 percent.", "Yes", "No")


class Script:
    """Writes dialogues as sequences.

    Args:
        tokenizer: of the language model.
        order: of the parts of a question about a forgery.
        forgery_tokens: places that `FORGERY` takes.

    Raises:
        UsageError: the tokenizer lacks what the format needs, or begins Yes and No alike.
    """

    def __init__(self, tokenizer: Any, order: Literal["paper", "release"], forgery_tokens: int) -> None:
        self._tokenizer, self._order, self._forgery_tokens = tokenizer, ORDERS[order], forgery_tokens
        for text in _NEEDED:
            if not (ids := self.tokens(text)) or tokenizer.unk_token_id in ids:
                raise UsageError(
                    f"the tokenizer has no tokens for {text!r}; take a model with another --set llm.name"
                )
        self._end = self.tokens(END)
        self.yes, self.no = self._first_tokens("Yes"), self._first_tokens("No")
        if self.yes & self.no:
            raise UsageError(
                "the tokenizer begins Yes and No with one token; take a model with another --set llm.name"
            )

    def tokens(self, text: str) -> list[int]:
        """Tokens of plain text, in which no special token is recognised."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def dialogue(self, messages: Sequence[Message], score: float, context: int, tell: bool = True) -> Encoded:
        """A dialogue to learn from: turns as far as they fit, the first one cut where it does not.

        Args:
            messages: by human and gpt in turn.
            score: P(fake) that the evidence gives, for the score's places.
            context: most tokens.
            tell: whether the first question has its score sentence.

        Raises:
            UsageError: the first question alone does not fit, and is about a forgery.
        """
        turns = list(self._turns(messages, score, tell))
        first = turns[0][0]
        if len(first) >= context and FORGERY in first:
            raise UsageError(f"a question takes {len(first)} of {context} tokens; --set llm.context higher")
        ids: list[int] = []
        targets: list[int] = []
        for number, (prompt, answer) in enumerate(turns):
            if number and len(ids) + len(prompt) + len(answer) > context:
                break
            ids += [*prompt, *answer]
            targets += [*[IGNORE] * len(prompt), *answer]
        cut = sum(len(prompt) + len(answer) for prompt, answer in turns) > context
        return Encoded(tuple(ids[:context]), tuple(targets[:context]), cut)

    def prompt(self, messages: Sequence[Message], score: float) -> Encoded:
        """A dialogue that ends with a question, for an answer to follow."""
        *before, (last, _) = self._turns([*messages, {"from": "gpt", "value": ""}], score, tell=True)
        ids = [token for prompt, answer in before for token in (*prompt, *answer)]
        return Encoded((*ids, *last), (IGNORE,) * (len(ids) + len(last)))

    def text(self, tokens: Sequence[int]) -> tuple[str, bool]:
        """An answer's text, and whether it ended by itself: by the mark of the end or the model's own."""
        own = self._tokenizer.eos_token_id
        kept = list(takewhile(lambda token: token != own, tokens))
        text, mark, _ = self._tokenizer.decode(kept, skip_special_tokens=True).partition(END)
        return text.strip(), bool(mark) or len(kept) < len(tokens)

    def has_ended(self, tokens: Sequence[int]) -> bool:
        """Whether the last tokens hold the mark of the end, however it is made of tokens."""
        return END in self._tokenizer.decode(list(tokens[-_LONGEST_END:]))

    def _turns(
        self, messages: Sequence[Message], score: float, tell: bool
    ) -> Iterator[tuple[list[int], list[int]]]:
        """Tokens of each question with all that stands around it, and of its answer."""
        opening = split_opening(messages[0]["value"])
        said = fill_score(messages, score)
        for number in range(0, len(said), 2):
            if number:
                prompt = self.tokens(f"{_NEXT_HUMAN} {said[number]['value']}{_ASSISTANT}")
            else:
                prompt = self._first(opening.with_score(score), tell)
            yield prompt, [*self.tokens(said[number + 1]["value"]), *self._end]

    def _first(self, opening: Opening, tell: bool) -> list[int]:
        pieces: list[str | int] = [_HUMAN]
        for part in self._order:
            if part == "image" and opening.has_image:
                pieces += ["<Img>", IMAGE, "</Img>"]
            elif part == "forgery" and opening.score:
                pieces.append(FORGERY)
            elif part in ("description", "question") or (part == "score" and tell):
                pieces.append(getattr(opening, part))
        bos = self._tokenizer.bos_token_id
        return [*([] if bos is None else [bos]), *self._joined(pieces)]

    def _joined(self, pieces: Sequence[str | int]) -> Iterator[int]:
        groups = [(is_text, list(group)) for is_text, group in groupby(pieces, lambda p: isinstance(p, str))]
        for number, (is_text, group) in enumerate(groups, 1):
            if is_text:
                text = " ".join(str(piece) for piece in group if piece)
                yield from self.tokens(text + _ASSISTANT * (number == len(groups)))
            else:
                yield from (int(place) for place in group for _ in range(self._room(int(place))))

    def _room(self, place: int) -> int:
        return self._forgery_tokens if place == FORGERY else 1

    def _first_tokens(self, word: str) -> set[int]:
        """The first token of such an answer, and the other spellings that are one token."""
        spellings = [
            self.tokens(f"{space}{one}") for space in ("", " ") for one in (word, word.lower(), word.upper())
        ]
        return {self.tokens(word)[0], *(ids[0] for ids in spellings if len(ids) == 1)}
