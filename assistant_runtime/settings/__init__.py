"""The runtime's settings, one frozen class read from the environment.

Each field is an environment variable of the same name in upper case, so that this class is the whole contract with
whoever starts the runtime. A value that can't work stops the start with one message that names the variable and the
remedy: a server that starts half configured fails later, where it is harder to see why. One group a file: what belongs
together stands together.
"""

from typing import Self

from pydantic import model_validator

from assistant_runtime.settings.agents import AgentsGroup
from assistant_runtime.settings.databases import DatabasesGroup
from assistant_runtime.settings.process import ProcessGroup
from assistant_runtime.settings.providers import ProvidersGroup
from assistant_runtime.settings.retention import RetentionGroup
from assistant_runtime.settings.retrieval import RetrievalGroup
from assistant_runtime.settings.security import SecurityGroup
from assistant_runtime.settings.server import ServerGroup
from assistant_runtime.settings.sessions import SessionsGroup
from assistant_runtime.settings.stores import StoresGroup
from assistant_runtime.settings.tools import ToolsGroup
from assistant_runtime.settings.ui import PageGroup
from assistant_runtime.settings.values import Group
from assistant_runtime.settings.writers import WritersGroup

GROUPS: tuple[type[Group], ...] = (
    ProcessGroup,
    ServerGroup,
    ProvidersGroup,
    StoresGroup,
    DatabasesGroup,
    SessionsGroup,
    RetentionGroup,
    SecurityGroup,
    ToolsGroup,
    AgentsGroup,
    RetrievalGroup,
    WritersGroup,
    PageGroup,
)


class Settings(
    PageGroup,
    WritersGroup,
    AgentsGroup,
    RetrievalGroup,
    ToolsGroup,
    SecurityGroup,
    RetentionGroup,
    SessionsGroup,
    DatabasesGroup,
    StoresGroup,
    ProvidersGroup,
    ServerGroup,
):
    """What the runtime reads from its environment; every field has an effect."""

    @property
    def named_models(self) -> frozenset[str]:
        """The models that agents, writers and documents use, as a client would name them."""
        agents = (agent.model or "" for agent in self.configured_agents().values())
        return frozenset({self.embedding_model, *self.writer_models, *self.checker_models, *agents})

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [problem for group in GROUPS for problem in group.problems(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self
