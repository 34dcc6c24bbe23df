#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Copies the CRDs into the chart, and makes config/{rbac,manager,webhook} from the
# chart, so that kustomize installs what Helm does. Needs helm: $HELM, or the one that hack/cluster builds.
#
#   hack/codegen/chart.sh [FOLDER]      FOLDER: where to write (default: config)
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
into="${1:-$repo/config}"
helm="${HELM:-$("$repo/hack/cluster/cluster" build helm)/helm}"

# render TEMPLATE FILE: without what says that Helm has made it, and without the
# checksum that makes Helm restart the operator.
render() {
  {
    echo '# Made from the chart by hack/codegen/chart.sh. Do not edit.'
    "$helm" template weir "$repo/charts/weir" --namespace weir-system --show-only "templates/$1" |
      sed -E '/^ *helm\.sh\/chart:|^ *app\.kubernetes\.io\/(managed-by|version|instance):|^# Source: /d
        /^ *# The operator reads its configuration once\.$/d; /^ *checksum\/config:/d; /^ *annotations:$/d; /^$/d'
  } >"$into/$2"
}

# With a FOLDER nothing else is touched; test/chart compares the copies.
[ $# -gt 0 ] || cp "$repo"/config/crd/weir.dev_*.yaml "$repo/charts/weir/files/crds/"

mkdir -p "$into"/{rbac,manager,webhook}
render serviceaccount.yaml rbac/service_account.yaml
render rbac.yaml rbac/role.yaml
render rbac-users.yaml rbac/user_roles.yaml
render configmap.yaml manager/config.yaml
render deployment.yaml manager/manager.yaml
render pdb.yaml manager/pdb.yaml
render service.yaml webhook/service.yaml
render webhook.yaml webhook/manifests.yaml
