"""What browsers may load, from this server alone, and what the server gives away: nothing else."""

from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self' data: blob:; form-action 'self'; frame-ancestors 'self'"
)


class Policy:
    """Tells the browser to load nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as the app does, with the policy in the header."""

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                ]
            await send(message)

        await self.app(scope, receive, send_with_policy)


# What Gradio launches its server with.
CLOSED: dict[str, Any] = {
    "share": False,
    "allowed_paths": [],
    "app_kwargs": {"middleware": [Middleware(Policy)]},
    "ssr_mode": False,
    "_frontend": False,  # else a slow machine, or a proxy, is taken for one without localhost
}
