"""LTDD's second stage: what completions are worth, and that only this changes the policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from mmidd.errors import PolicyCollapsed, UsageError
from mmidd.schema import Label
from mmidd.spec import PreprocessSpec
from mmidd.training.accumulate import accumulate
from mmidd.training.config import LtddRlConfig
from mmidd.training.rl import rewards
from mmidd.training.rl.chain import Chain, read_chain
from mmidd.training.rl.rollout import Form, Rollout, agreement, mask_of
from mmidd.training.tasks.ltdd import Ltdd
from mmidd.training.tasks.ltdd_rl import LtddRl
from mmidd.training.trained import WEIGHTS, save_weights, trained_state
from tests.training.ltdd_world import learn, ltdd_config, pictures, policy_of, rl_config


@pytest.fixture(scope="module")
def first() -> Ltdd:
    task = Ltdd(ltdd_config())
    learn(task, pictures(8), 40)
    return task.eval()


def rolled(policy: LtddRl, count: int = 4, seed: int = 5) -> list[Rollout]:
    return list(policy.act(pictures(count), 10_000, seed).rollouts)


def test_the_form_is_learned(first: Ltdd) -> None:
    policy = policy_of(first, rl_config(form_steps=1000, grpo={"group": 2, "max_new_tokens": 60}))
    losses = [float(terms.total.detach()) for terms in learn(policy, pictures(8), 80, lr=5e-3)]
    assert losses[0] > 4
    assert losses[-1] < 2


def test_a_form_ends_with_the_own_direct_verdict(first: Ltdd) -> None:
    policy = policy_of(first, rl_config(form_steps=1, batch=64, grpo={"group": 2, "max_new_tokens": 60}))
    batch = pictures(64)
    forms = policy.act(batch, 0, seed=0).rollouts
    chains = [read_chain(policy.generalist.decode(one.said[0])) for one in forms]
    assert all(chain.well_formed for chain in chains)
    said, meant = [chain.verdict is Label.FAKE for chain in chains], policy.score(batch.images).fake
    assert sum(said) == pytest.approx(meant.sum(), abs=4 * float((meant * (1 - meant)).sum()) ** 0.5 + 1e-3)
    sure = abs(meant - 0.5) > 0.49
    assert sure.sum() > 8
    assert [one for one, keep in zip(said, sure, strict=True) if keep] == (meant[sure] > 0.5).tolist()


def test_log_probabilities_are_those_of_each_completion_alone(first: Ltdd) -> None:
    policy = policy_of(first, rl_config(grpo={"group": 3, "max_new_tokens": 12, "temperature": 0.7})).eval()
    batch = policy.act(pictures(4), 0, seed=1)
    with torch.no_grad():
        found = policy(batch)["log_probs"]
        assert found.shape == (4, 3, 12)
        for row, rollout in enumerate(batch.rollouts):
            prompts = policy._prompts(batch.images[row : row + 1], policy.own.questions.explain)
            tokens = policy._tokens(batch.images[row : row + 1])
            for number, said in enumerate(rollout.said):
                logits = policy.generalist(prompts.then_all(said), tokens, len(said) + 1)[0, :-1]
                alone = (logits / 0.7).log_softmax(-1)[range(len(said)), list(said)]
                torch.testing.assert_close(found[row, number, : len(said)], alone, atol=1e-4, rtol=1e-4)
                assert not found[row, number, len(said) :].any()


def test_what_is_rewarded_becomes_likelier(first: Ltdd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards, "read_chain", lambda text: Chain(text, None, False, len(text)))
    monkeypatch.setitem(rewards.TERMS, "length", lambda chain, label, config: max(0.0, 1 - chain.words / 12))
    policy = policy_of(first, rl_config(rewards={"weights": {"label": 0, "format": 0, "length": 1}}))
    monkeypatch.setattr(policy.guard, "watch", lambda answers: None)
    earned = [float(terms.parts["reward"]) for terms in learn(policy, pictures(4), 60)]
    before, after = sum(earned[:8]) / 8, sum(earned[-8:]) / 8
    assert before < 0.5
    assert after > before + 0.3


def test_completions_are_drawn_by_the_seed_alone(first: Ltdd) -> None:
    policy = policy_of(first, rl_config())
    torch.manual_seed(1)
    one = rolled(policy)
    torch.manual_seed(2)
    again, other = rolled(policy), rolled(policy, seed=6)
    assert [rollout.said for rollout in one] == [rollout.said for rollout in again]
    assert [rollout.said for rollout in one] != [rollout.said for rollout in other]


def test_micro_batches_give_the_gradient_of_the_whole_batch(first: Ltdd) -> None:
    gradients = []
    policy = policy_of(first, rl_config(rewards={"weights": {"distinct": 1}}))
    batch = policy.act(pictures(6), 0, seed=3)
    varied = tuple(
        replace(rollout, rewards=torch.linspace(0, number + 1, 4))
        for number, rollout in enumerate(batch.rollouts)
    )
    for micro in (6, 2):
        for parameter in policy.parameters():
            parameter.grad = None
        given = replace(batch, rollouts=varied)
        accumulate(policy.train(), policy, given, micro, seed=0, backward=torch.autograd.backward)
        gradients.append(
            torch.cat([p.grad.flatten() for p in policy.trainable().values() if p.grad is not None])
        )
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-3)
    assert gradients[0].abs().max() > 1e-4


def test_lora_alone_learns_and_the_projector_is_kept(first: Ltdd) -> None:
    policy = policy_of(first, rl_config())
    assert all(".lora_" in name for name in policy.trainable())
    assert set(policy.learned()) == set(first.learned())
    assert {p.p for p in policy.modules() if isinstance(p, torch.nn.Dropout)} <= {0.0}


def test_the_reference_is_the_first_stage_and_the_policy_comes_back(first: Ltdd, tmp_path: Path) -> None:
    save_weights(tmp_path / WEIGHTS, first.config, PreprocessSpec(), trained_state(first))
    config = rl_config(policy=str(tmp_path), grpo={"group": 4, "max_new_tokens": 12, "beta": 0.1})
    policy = LtddRl(config)
    policy.start(PreprocessSpec())
    batch = policy.act(pictures(4), 0, seed=1)
    assert float(policy.losses(policy(batch), batch, torch.Generator()).parts["kl"]) == pytest.approx(
        0, abs=1e-6
    )
    with torch.no_grad():
        for tensor in policy.trainable().values():
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))
    before = {name: tensor.clone() for name, tensor in policy.learned().items()}
    batch = policy.act(pictures(4), 0, seed=1)
    assert float(policy.losses(policy(batch), batch, torch.Generator()).parts["kl"]) > 1e-3
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.learned().items())


def test_a_policy_that_says_nothing_is_stopped(first: Ltdd) -> None:
    config = rl_config(grpo={"group": 2, "max_new_tokens": 3, "collapse": {"window": 4}})
    policy = policy_of(first, config)
    with pytest.raises(PolicyCollapsed, match="over 4 steps"):
        learn(policy, pictures(4), 8)
    assert policy.carried()["steps"]
    again = policy_of(first, config)
    again.carry_on(policy.carried())
    with pytest.raises(PolicyCollapsed):
        learn(again, pictures(4), 1)


def test_agreement_is_the_share_of_the_verdict_most_have() -> None:
    def rollout(*verdicts: Label | None) -> Rollout:
        chains = tuple(Chain("", verdict, False, 0) for verdict in verdicts)
        return Rollout(((1,),) * len(chains), (True,) * len(chains), chains, torch.zeros(len(chains)))

    real, fake = Label.REAL, Label.FAKE
    assert agreement([rollout(real, real, fake, None)]) == 0.5
    assert agreement([rollout(real, real, real, real), rollout(None, None, fake, None)]) == 0.625
    assert agreement([rollout(None, None)]) == 0


def test_what_was_said_teaches_unless_it_was_cut_and_that_is_masked() -> None:
    rollout = Rollout(((5, 6, 0), (5, 6)), (True, False), (), torch.zeros(2))
    assert mask_of([rollout], 4, mask_truncated=False).tolist() == [
        [True] * 3 + [False],
        [True] * 2 + [False] * 2,
    ]
    assert mask_of([rollout], 4, mask_truncated=True).tolist() == [[True] * 3 + [False], [False] * 4]


def test_a_form_that_is_too_long_is_one_line(first: Ltdd) -> None:
    policy = policy_of(first, rl_config(form_steps=1, grpo={"group": 2, "max_new_tokens": 4}))
    with pytest.raises(UsageError, match=r"grpo\.max_new_tokens"):
        learn(policy, pictures(4), 1)


def test_a_second_stage_needs_a_first() -> None:
    settings = rl_config().model_dump() | {"first_stage": None}
    with pytest.raises(UsageError, match="--stage rl"):
        LtddRl(LtddRlConfig.model_validate(settings))


def test_the_form_and_the_divergence_from_before_it_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match=r"set grpo\.beta or form_steps to 0"):
        rl_config(form_steps=1, grpo={"beta": 0.1})


def test_form_comes_first(first: Ltdd) -> None:
    policy = policy_of(first, rl_config(form_steps=1, grpo={"group": 2, "max_new_tokens": 60}))
    assert isinstance(policy.act(pictures(4), 0, 0).rollouts[0], Form)
    assert isinstance(policy.act(pictures(4), 1, 0).rollouts[0], Rollout)
