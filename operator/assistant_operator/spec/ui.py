"""The chat page in the spec."""

from assistant_operator.spec.base import Image, Model, Overlay, Resources
from assistant_operator.spec.values import Host


class UI(Model):
    """The chat page: a Deployment of its own that talks to the assistant's Service."""

    enabled: bool = False
    """Whether the chat page is served. People enter their API key there; it stays in their browser."""
    host: Host | None = None
    """DNS name under which the Ingress serves the page; it may be that of the API. Default: inside the cluster only."""
    image: Image = Image()
    """Image of the chat page."""
    resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "1000m", "memory": "512Mi"}
    )
    """Compute resources of the page's pod."""
    pod_template: Overlay = {}
    """Overlay on the pod's template (metadata and spec), merged as Kubernetes merges: scheduling, sidecars."""
