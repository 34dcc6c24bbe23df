// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/idl"
)

// shopIDL is the IDL that the converter's own tests use; they cannot compile it.
const shopIDL = "../../sidecar/wire/transcode/testdata/shop.thrift"

var updateShop = flag.Bool("update-shop", false, "write the mapping of shop.thrift")

// The mapping beside the IDL is what the IDL's compiler makes of it.
func TestMappingOfTheConvertersTests(t *testing.T) {
	files, err := readIDL(shopIDL)
	if err != nil {
		t.Fatal(err)
	}
	want, found := idl.Compile(idl.Source{Files: files, Main: filepath.Base(shopIDL)})
	if len(found) > 0 {
		t.Fatal(found)
	}
	path := filepath.Join(filepath.Dir(shopIDL), "shop.txtpb")
	if *updateShop {
		if err := os.WriteFile(path, []byte(prototext.Format(want)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := &snapshot.Transcoding{}
	if err := prototext.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("go test ./cmd/weir -run %s -update-shop (-want +got):\n%s", t.Name(), diff)
	}
}
