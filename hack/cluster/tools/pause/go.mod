module weir.dev/weir/hack/cluster/tools/pause

go 1.26.0
