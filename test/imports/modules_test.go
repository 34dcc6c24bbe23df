// SPDX-License-Identifier: Apache-2.0

package imports

// sidecarModules are the modules that weir-sidecar is built from. Each runs in
// every pod, so adding one is a decision: say in the commit why nothing smaller
// would do.
var sidecarModules = []string{
	"github.com/beorn7/perks",
	"github.com/cespare/xxhash/v2",
	"github.com/go-jose/go-jose/v4",
	"github.com/google/nftables",
	"github.com/klauspost/compress",
	"github.com/mdlayher/netlink",
	"github.com/mdlayher/socket",
	"github.com/molecule-man/go-brrr",
	"github.com/munnerz/goautoneg",
	"github.com/prometheus/client_golang",
	"github.com/prometheus/client_model",
	"github.com/prometheus/common",
	"github.com/prometheus/procfs",
	"github.com/redis/go-redis/v9",
	"github.com/spf13/cobra",
	"github.com/spf13/pflag",
	"github.com/valyala/bytebufferpool",
	"github.com/valyala/fasthttp",
	"go.uber.org/atomic",
	"golang.org/x/net",
	"golang.org/x/sync",
	"golang.org/x/sys",
	"golang.org/x/text",
	"google.golang.org/genproto/googleapis/rpc",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
	"weir.dev/weir",
}
