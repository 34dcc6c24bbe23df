// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// operator sends one snapshot to whoever connects, and hands out what it hears.
type operator struct {
	stream.UnimplementedConfigServer
	snapshot *snapshot.Snapshot
	heard    chan *stream.FromSidecar

	server  *grpc.Server
	address string
	ca      []byte
}

func startOperator(t *testing.T, s *snapshot.Snapshot) *operator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{
		snapshot: s,
		heard:    make(chan *stream.FromSidecar, 100),
		server: grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
		}))),
		address: "localhost:" + port,
		ca:      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}
	stream.RegisterConfigServer(o.server, o)
	go func() { _ = o.server.Serve(l) }()
	t.Cleanup(o.server.Stop)
	return o
}

func (o *operator) Connect(conn stream.Config_ConnectServer) error {
	for {
		m, err := conn.Recv()
		if err != nil {
			return err
		}
		o.heard <- m
		if m.GetHello() == nil {
			continue
		}
		err = conn.Send(&stream.ToSidecar{Message: &stream.ToSidecar_Snapshot{
			Snapshot: &stream.SnapshotUpdate{Hash: snapshot.Hash(o.snapshot), Snapshot: o.snapshot},
		}})
		if err != nil {
			return err
		}
	}
}

func (o *operator) Fleet(_ *stream.FleetHello, conn grpc.ServerStreamingServer[stream.FleetUpdate]) error {
	for _, u := range []*stream.FleetUpdate{{Namespace: o.snapshot.GetWorkload().GetNamespace(), Snapshot: o.snapshot}, {Complete: true}} {
		if err := conn.Send(u); err != nil {
			return err
		}
	}
	<-conn.Context().Done()
	return conn.Context().Err()
}

// await returns the first message that has what is asked for.
func await[T any](t *testing.T, o *operator, pick func(*stream.FromSidecar) *T) *T {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case m := <-o.heard:
			if v := pick(m); v != nil {
				return v
			}
		case <-timeout:
			t.Fatal("the sidecar did not say it")
		}
	}
}
