// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/cmd/weir/internal/term"
	"weir.dev/weir/controllers/idl"
	"weir.dev/weir/sidecar/wire/transcode"
)

// thriftCallFlags are those of `weir thrift call`.
type thriftCallFlags struct {
	idl, addr, transport, protocol, output string
	multiplexed                            bool
	timeout                                time.Duration
}

func thriftCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "thrift",
		Short: "Work with Thrift applications",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(thriftCallCommand())
	return c
}

func thriftCallCommand() *cobra.Command {
	f := thriftCallFlags{}
	c := &cobra.Command{
		Use:   "call --idl FILE --addr HOST:PORT SERVICE.METHOD ['JSON']",
		Short: "Call a method of a Thrift application with JSON",
		Long: `Call sends one call and prints its result as JSON. The JSON has the arguments by
their names; - reads it from standard input. It is converted by the code that
answers REST with Thrift in a sidecar: docs/thrift.md has the rules.

Included IDLs are looked for beside the file that includes them.

The exit code is 0 when there is a result, and 1 when the application answers with
an exception or cannot be reached.`,
		Example: `  weir thrift call --idl payments.thrift --addr 127.0.0.1:9090 Payments.charge '{"req": {"userId": "7", "amount": 100}}'
  weir thrift call --idl payments.thrift --addr 127.0.0.1:9090 --transport buffered --protocol compact Payments.ping`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := ""
			if len(args) > 1 {
				text = args[1]
			}
			return f.run(cmd.Context(), args[0], text, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.idl, "idl", "", "the IDL that has the service")
	c.Flags().StringVar(&f.addr, "addr", "", "host:port of the application")
	c.Flags().StringVar(&f.transport, "transport", "framed", "framed, buffered or header")
	c.Flags().StringVar(&f.protocol, "protocol", "binary", "binary or compact")
	c.Flags().BoolVar(&f.multiplexed, "multiplexed", false, "the application serves several services on one port")
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long the application may take")
	c.Flags().StringVarP(&f.output, "output", "o", "text", "text: the result alone; json: an object with result, exception or applicationException")
	for flag, values := range map[string][]string{"transport": {"framed", "buffered", "header"}, "protocol": {"binary", "compact"}, "output": {"text", "json"}} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return c
}

func (f *thriftCallFlags) run(ctx context.Context, name, text string, stdin io.Reader, stdout, stderr io.Writer) error {
	form, err := f.form()
	if err != nil {
		return err
	}
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(stdin, transcode.DefaultCall+1))
		if err != nil {
			return fmt.Errorf("read the arguments: %w", err)
		}
		text = string(b)
	}
	files, err := readIDL(f.idl)
	if err != nil {
		return err
	}
	mapping, found := idl.CompileMethod(idl.Source{Files: files, Main: filepath.Base(f.idl)}, name)
	for _, finding := range found {
		if finding.Warning {
			term.New(stderr).Printf("%s\n", finding)
		}
	}
	if mapping == nil {
		return errors.New(errorsOf(found))
	}
	if f.multiplexed {
		mapping.GetMethods()[0].Call = strings.Replace(name, ".", ":", 1)
	}
	table, err := transcode.Compile(mapping, transcode.Limits{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	return f.call(ctx, table.Method(name), text, form, stdout)
}

// errorsOf are the findings that are no warnings, one a line.
func errorsOf(found []idl.Finding) string {
	var lines []string
	for _, finding := range found {
		if !finding.Warning {
			lines = append(lines, finding.String())
		}
	}
	return strings.Join(lines, "\n")
}

// callForm is how messages are sent.
type callForm struct {
	transport snapshot.ThriftTransport
	protocol  transcode.Protocol
}

func (f *thriftCallFlags) form() (callForm, error) {
	var out callForm
	switch {
	case f.idl == "":
		return out, errors.New("--idl is missing, as in --idl payments.thrift")
	case f.addr == "":
		return out, errors.New("--addr is missing, as in --addr 127.0.0.1:9090")
	case f.output != "text" && f.output != "json":
		return out, fmt.Errorf("--output %q is not text or json", f.output)
	case f.timeout <= 0:
		return out, fmt.Errorf("--timeout %s is not above 0", f.timeout)
	}
	switch f.transport {
	case "framed":
		out.transport = snapshot.ThriftTransport_THRIFT_TRANSPORT_FRAMED
	case "buffered":
		out.transport = snapshot.ThriftTransport_THRIFT_TRANSPORT_BUFFERED
	case "header":
		out.transport = snapshot.ThriftTransport_THRIFT_TRANSPORT_HEADER
	default:
		return out, fmt.Errorf("--transport %q is not framed, buffered or header", f.transport)
	}
	switch f.protocol {
	case "binary":
	case "compact":
		out.protocol = transcode.Compact
	default:
		return out, fmt.Errorf("--protocol %q is not binary or compact", f.protocol)
	}
	return out, nil
}

// readIDL reads an IDL and what it includes, by their paths from its folder.
func readIDL(main string) (map[string]string, error) {
	folder := filepath.Dir(main)
	include := regexp.MustCompile(`(?m)^\s*include\s+["']([^"'\n]+)["']`)
	files := map[string]string{}
	todo := []string{filepath.Base(main)}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if _, ok := files[filepath.ToSlash(name)]; ok {
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, os.ErrNotExist) && len(files) > 0 {
			// The IDL's compiler says who includes it.
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the IDL: %w", err)
		}
		files[filepath.ToSlash(name)] = string(b)
		for _, m := range include.FindAllStringSubmatch(string(b), -1) {
			todo = append(todo, filepath.Join(filepath.Dir(name), m[1]))
		}
	}
	return files, nil
}

// callSeq is the sequence id of the only call.
const callSeq = 1

func (f *thriftCallFlags) call(ctx context.Context, m *transcode.Method, text string, form callForm, stdout io.Writer) error {
	call, err := m.AppendCall(nil, form.protocol, callSeq, []byte(text))
	if err != nil {
		return err
	}
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", f.addr)
	if err != nil {
		return fmt.Errorf("connect to the application: %w", err)
	}
	defer nc.Close()
	// Whoever ends the context ends the call.
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	c := transcode.NewConn(nc, form.transport, form.protocol, 0)
	if _, err := c.Send(call, callSeq); err != nil {
		return f.late(ctx, err)
	}
	if m.Oneway {
		return nil
	}
	reply, err := c.Receive()
	if err != nil {
		return f.late(ctx, err)
	}
	result, err := m.Result(reply, callSeq)
	if err != nil {
		return err
	}
	return f.print(m, result, stdout)
}

// late says that time is up, if that is why.
func (f *thriftCallFlags) late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the application at %s did not answer within %s", f.addr, f.timeout)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w; is %s a Thrift application that speaks %s, %s?", err, f.addr, f.transport, f.protocol)
}
