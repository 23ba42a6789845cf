"""Modelward's API: custom resources, bundle documents and wire contracts, as pydantic models.

These models are the truth: the CRD YAML in ``crds/`` and in the chart is generated from them, bundles are
written and read through them, and the operator and the serving pods talk in them.
"""

GROUP = "modelward.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
