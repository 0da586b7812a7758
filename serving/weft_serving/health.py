"""For balancers and supervisors: is it alive, can it work?"""

from typing import Literal

from fastapi import Request
from fastapi.routing import APIRouter
from pydantic import BaseModel

from weft.errors import StoreError
from weft_serving.problems import NotReadyError, problem_responses
from weft_serving.service import TheService

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers. Looks at nothing else, so that a busy server is not taken for a dead one."""
    return Health()


@router.get("/readyz", responses=problem_responses("not-ready"))
def readyz(request: Request, service: TheService) -> Health:
    """The bundles are loaded and proven, the database answers, and the service is not about to stop."""
    if getattr(request.app.state, "draining", False):
        raise NotReadyError("this server is stopping; ask another one")
    try:
        service.store.check()
    except StoreError as error:
        raise NotReadyError("the database does not answer; try again in a moment") from error
    return Health()
