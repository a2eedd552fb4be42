"""What a tenant's plan lets it use."""

from __future__ import annotations

from partywall.directory import Directory
from partywall.errors import FeatureNotInPlan
from partywall.model import ALL_FEATURES

__all__ = ["Features"]


class Features:
    """Features and models by tenant; in memory, and refused for a tenant that is not in service."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def has(self, tenant_id: str, feature: str) -> bool:
        """Whether the tenant's plan grants the feature; ``all`` in a plan grants every one."""
        granted = self._directory.grants(self._directory.require_active(tenant_id)).features
        return feature in granted or ALL_FEATURES in granted

    def require(self, tenant_id: str, feature: str) -> None:
        """Raise FeatureNotInPlan unless the tenant's plan grants the feature."""
        if not self.has(tenant_id, feature):
            plan = self._directory.grants(tenant_id).plan
            raise FeatureNotInPlan(f"plan '{plan}' does not include '{feature}'", feature=feature, plan=plan)

    def allows_model(self, tenant_id: str, model: str) -> bool:
        """Whether the tenant's ``settings.allowedModels`` admit the model; a tenant without the setting may use any."""
        allowed = self._directory.grants(self._directory.require_active(tenant_id)).allowed_models
        return allowed is None or model in allowed
