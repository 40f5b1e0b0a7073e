"""The inference route over ASGI: the same exchange as the lane's, under any server and in Starlette's test client."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hearth.activator import errors
from hearth.activator.errors import ApiError
from hearth.activator.lane.door import Door, is_coded
from hearth.http1.asgi import AsgiResponse, ClientGone, Refused, read_request


class InferenceRoute:
    """An ASGI application for every path that is none of the API's own."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ApiError where the request does not get past the gate, CutShort where its answer is not whole."""
        door = self._door
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003, "reason": "WebSocket is not supported here"})
            return
        if scope["method"] == "OPTIONS":
            # What pages of other origins may do is said by Starlette's middleware, before this (RFC 9110, 9.3.7).
            await Response(status_code=204, headers={"allow": ", ".join(errors.EVERY_METHOD)})(scope, receive, send)
            return
        try:
            request = await read_request(scope, receive, door.limits.body_bytes, door.budget)
        except ClientGone:
            return
        except Refused as refused:
            raise errors.of_refusal(refused.refusal) from None
        response = AsgiResponse(request, door.budget)
        try:
            if is_coded(request):
                await door.decode(request, response)
            entry, asked = door.route(request)
            door.begin(entry, asked, response)
        except ApiError:
            response.drop_request()
            raise
        await response.run(receive, send)
