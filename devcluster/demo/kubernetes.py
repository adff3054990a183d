"""kubectl and helm against one cluster, the way a person would run them."""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.errors import DevclusterError
from devcluster.proxies import without_proxies


@dataclass(frozen=True)
class Kubernetes:
    """A cluster, by the two programs and what they need to find it."""

    kubectl_program: str
    helm_program: str
    context: str | None = None
    """Context of the kubeconfig; None means its current one."""
    kubeconfig: Path | None = None
    """None means the user's own: $KUBECONFIG, or the usual place."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed.

        Raises
        ------
        DevclusterError
            It failed; with its own message.
        """
        return self._run([*self.kubectl_command, *arguments], stdin)

    def helm(self, *arguments: str) -> str:
        """Run helm and return what it printed.

        Raises
        ------
        DevclusterError
            It failed; with its own message.
        """
        context = ["--kube-context", self.context] if self.context else []
        return self._run([self.helm_program, *context, *arguments], None)

    @property
    def kubectl_command(self) -> list[str]:
        """Return kubectl with the options that find the cluster."""
        return [self.kubectl_program, *(["--context", self.context] if self.context else [])]

    @property
    def shell_setup(self) -> str:
        """Return the line of shell that makes a user's own kubectl talk to the cluster."""
        if self.kubeconfig:
            config, folder = shlex.quote(str(self.kubeconfig)), shlex.quote(str(Path(self.kubectl_program).parent))
            return f"export KUBECONFIG={config} PATH={folder}:$PATH"
        return f"kubectl config use-context {self.context}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment to run them in."""
        if self.kubeconfig:
            return {**without_proxies(os.environ), "KUBECONFIG": str(self.kubeconfig)}
        return dict(os.environ)

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects of the list that `kubectl get` finds."""
        found = self.get(*arguments)
        return list(found["items"]) if found else []

    def get(self, *arguments: str) -> Any:
        """Return the object that `kubectl get` finds, or None: also when it finds a list without entries."""
        text = self.kubectl("get", *arguments, "--output=json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def apply(self, *objects: Mapping[str, Any], namespace: str = "default") -> None:
        """Apply objects; those that name no namespace of their own, to the one given."""
        manifest = "\n---\n".join(json.dumps(each) for each in objects)
        self.kubectl("apply", "--namespace", namespace, "--filename=-", stdin=manifest)

    def create(self, namespace: str, manifest: Mapping[str, Any]) -> str:
        """Create an object whose name Kubernetes generates, and return that name."""
        arguments = ("create", "--namespace", namespace, "--filename=-", "--output=jsonpath={.metadata.name}")
        return self.kubectl(*arguments, stdin=json.dumps(manifest))

    def follow_logs(self, namespace: str, pod: str) -> None:
        """Copy a pod's output to ours as it comes, until it ends."""
        command = [*self.kubectl_command, "--namespace", namespace, "logs", "--follow", pod]
        subprocess.run(command, env=self.environment, check=False)

    def _run(self, command: list[str], stdin: str | None) -> str:
        result = subprocess.run(command, input=stdin, env=self.environment, check=False, capture_output=True, text=True)
        if result.returncode != 0:
            shown = " ".join([Path(command[0]).name, *command[1:]])
            raise DevclusterError(f"`{shown}` failed: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout
