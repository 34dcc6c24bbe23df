// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"weir.dev/weir/api/podspec"
)

// tableName is the table, of family inet, that holds everything of Weir's.
const tableName = "weir"

// Config of the rules.
type Config struct {
	// Exclude are ports that are left alone besides Weir's own.
	Exclude []uint16
}

// Apply replaces Weir's rules in the network namespace of the calling thread, in
// one transaction: there is no moment with half of them.
func Apply(c Config) error {
	conn, err := nftables.New()
	if err != nil {
		return explain(err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	// A table can be deleted only if it is there: adding first makes sure.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{
		Table: table, Name: "prerouting", Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
	})
	spared := &nftables.Set{
		Table: table, Name: "spared", Interval: true, KeyType: nftables.TypeInetService, KeyByteOrder: binaryutil.BigEndian,
	}
	if err := conn.AddSet(spared, elements(sparedPorts(c.Exclude))); err != nil {
		return fmt.Errorf("make the set of spared ports: %w", err)
	}
	for _, r := range rules(spared) {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r})
	}
	return explain(conn.Flush())
}

// rules in words of nft:
//
//	iifname "lo" return
//	tcp dport @spared return
//	tcp flags & (fin | syn | rst | ack) == syn fib daddr type local redirect to :16006
//
// Only the first packet of a connection is looked at. One that was made before the
// rules, such as the sidecar's own to the operator, is not tracked yet: its next
// packet looks new to conntrack, and must not be led away.
//
// Only what is meant for the pod itself is taken: a pod may route for others, as
// those that run containers of their own do.
func rules(spared *nftables.Set) [][]expr.Any {
	tcp := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
	}
	loopback := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte("lo\x00")},
		&expr.Verdict{Kind: expr.VerdictReturn},
	}
	const dport, portBytes = 2, 2 // of the TCP header
	spare := append(append([]expr.Any(nil), tcp...),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: dport, Len: portBytes},
		&expr.Lookup{SourceRegister: 1, SetName: spared.Name, SetID: spared.ID},
		&expr.Verdict{Kind: expr.VerdictReturn},
	)
	const flags, fin, syn, rst, ack = 13, 0x01, 0x02, 0x04, 0x10 // of the TCP header
	redirect := append(append([]expr.Any(nil), tcp...),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{fin | syn | rst | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syn}},
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(podspec.PortCapture)},
		&expr.Redir{RegisterProtoMin: 1},
	)
	return [][]expr.Any{loopback, spare, redirect}
}

// Errors that Apply explains; errors.Is finds them.
var (
	// ErrPermission: the process lacks NET_ADMIN.
	ErrPermission = errors.New("not permitted to set nftables rules: " +
		"the container needs the capability NET_ADMIN; where the cluster forbids it, capture NamedPort does without (weir.dev/capture)")
	// ErrUnsupported: the kernel lacks a part of nf_tables.
	ErrUnsupported = errors.New("the node's kernel lacks nf_tables, or its nft_redir or nft_fib: " +
		"load the modules there, or use capture NamedPort, which does without (weir.dev/capture)")
)

func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrPermission): // EPERM, EACCES
		return fmt.Errorf("%w (%w)", ErrPermission, err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP),
		errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w (%w)", ErrUnsupported, err)
	default:
		return fmt.Errorf("set nftables rules: %w", err)
	}
}
