"""The order: its machine by pure steps, and with its callbacks in the real engine."""

from __future__ import annotations

from pathlib import Path

from event_center.testing import TestCenter, drive

MACHINE = Path(__file__).parents[1] / "machines/order.yaml"
PLACED = {"items": ["a book"], "card": "4242"}


def test_a_delivery_that_never_comes() -> None:
    """Two weeks after it was paid an order is lost."""
    order = drive(MACHINE)
    order.send("order_placed", PLACED)
    order.send("paid")
    order.advance("14d")
    assert order.state == "lost"


async def test_an_order_is_paid_and_delivered(project_center: type[TestCenter]) -> None:
    """An order with a card is paid at once, and done when it was delivered."""
    async with project_center() as center:
        await center.publish("order-1", "order_placed", PLACED)
        assert center.workflow("order-1").state == "shipping"
        await center.publish("order-1", "delivered")
        assert center.workflow("order-1").result == "success"


async def test_a_payment_is_tried_again(project_center: type[TestCenter]) -> None:
    """A provider that does not answer is asked again, with the same key."""
    answers = [TimeoutError("no answer"), "paid"]
    async with project_center(fakes={"charge": answers}) as center:
        await center.publish("order-1", "order_placed", PLACED)
        assert center.workflow("order-1").state == "shipping"
        assert [call.key for call in center.calls("charge")] == ["order-1/1/charge"] * 2
