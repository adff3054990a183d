"""That an AIAssistant is still there, asked of the API server itself before anything is written that it would own.

The watches of several kinds are not in step: what the garbage collector does to the objects of a deleted AIAssistant
can be seen before the deletion itself, and a deletion can be missed altogether while a watch is down. What is created
then, is made in vain. What is owned again then is worse: with `--cascade=orphan` the garbage collector lets go of the
objects first and deletes the AIAssistant after that, and would collect what an owner that is gone took back in between.
Kubernetes' own controllers ask in the same way before they adopt (RecheckDeletionTimestamp).
"""

from assistant_operator import conditions
from assistant_operator.cluster.client import Client
from assistant_operator.errors import GoneError
from assistant_operator.kinds import ASSISTANT
from assistant_operator.spec.assistant import AIAssistant


class Confirmation:
    """The question whether one AIAssistant is there and stays, in one pass."""

    def __init__(self, api: Client, assistant: AIAssistant) -> None:
        self._api, self._assistant = api, assistant
        self._given = False

    async def before_creation(self) -> None:
        """Ask once a pass.

        Raises
        ------
        GoneError
            It was deleted, or is being deleted.
        """
        if not self._given:
            await self._ask()

    async def before_adoption(self) -> None:
        """Ask anew: an answer from before the object lost its owner says nothing.

        Raises
        ------
        GoneError
            It was deleted, or is being deleted.
        """
        await self._ask()

    async def _ask(self) -> None:
        assistant = self._assistant
        live = await self._api.get(ASSISTANT, assistant.namespace, assistant.name, metadata_only=True)
        metadata = live["metadata"] if live else {}
        if metadata.get("uid") != assistant.metadata.uid or metadata.get("deletionTimestamp"):
            raise GoneError(conditions.TERMINATING, "The AIAssistant was deleted.")
        self._given = True
