// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/controllers/attach"
)

// server has one ConfigMap.
type server struct {
	client.Reader
	m   *corev1.ConfigMap
	err error
}

func (s *server) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch {
	case s.err != nil:
		return s.err
	case s.m == nil:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, key.Name)
	}
	s.m.DeepCopyInto(o.(*corev1.ConfigMap))
	return nil
}

const (
	good = `service S { void f(1: i32 a) (api.get = "/f") }`
	bad  = `service S { Nothing f(1: i32 a) (api.get = "/f") }`
)

func configMap(version, text string) *corev1.ConfigMap {
	m := &corev1.ConfigMap{Data: map[string]string{"a.thrift": text}}
	m.UID, m.ResourceVersion = "u", version
	return m
}

// The last good mapping goes on whatever comes, and each change is told.
func TestKeeper(t *testing.T) {
	s := &server{}
	k := New(Options{Client: s, Log: slog.New(slog.DiscardHandler)})
	of := attach.IDL{ConfigMap: "idl"}
	for i, step := range []struct {
		m       *corev1.ConfigMap
		err     error
		mapped  bool
		problem string
		told    bool
	}{
		{nil, nil, false, "There is no ConfigMap idl", false},
		{configMap("1", bad), nil, false, "a.thrift:1:", true},
		{configMap("2", good), nil, true, "", true},
		{configMap("2", good), nil, true, "", false},
		{configMap("3", bad), nil, true, "a.thrift:1:", true},
		{nil, errors.New("away"), true, "a.thrift:1:", false},
		{nil, apierrors.NewForbidden(schema.GroupResource{}, "idl", nil), true, "weir-configmaps", true},
		{nil, nil, true, "There is no ConfigMap idl", true},
		{configMap("4", good), nil, true, "", true},
	} {
		s.m, s.err = step.m, step.err
		if i > 0 {
			k.refresh(t.Context())
		}
		m, err := k.Get(t.Context(), "shop", of)
		if err != nil || (m.Transcoding != nil) != step.mapped || !strings.Contains(m.Problem, step.problem) || step.problem == "" && m.Problem != "" {
			t.Errorf("step %d: %v %q, %v", i, m.Transcoding, m.Problem, err)
		}
		if told := len(k.Take()) == 1; told != step.told {
			t.Errorf("step %d: told %v", i, told)
		}
	}
	k.Keep("shop", nil)
	s.err = errors.New("away")
	if _, err := k.Get(t.Context(), "shop", of); err == nil {
		t.Error("it was not forgotten")
	}
}

func TestCompile(t *testing.T) {
	for name, test := range map[string]struct {
		data map[string]string
		of   attach.IDL
		want string
	}{
		"the only one":  {map[string]string{"a.thrift": good, "x": ""}, attach.IDL{ConfigMap: "m"}, ""},
		"named":         {map[string]string{"a.thrift": good, "b.thrift": bad}, attach.IDL{ConfigMap: "m", File: "a.thrift"}, ""},
		"none":          {nil, attach.IDL{ConfigMap: "m"}, "m has 0 members"},
		"two":           {map[string]string{"a.thrift": good, "b.thrift": good}, attach.IDL{ConfigMap: "m"}, "m has 2 members"},
		"no such one":   {map[string]string{"a.thrift": good}, attach.IDL{ConfigMap: "m", File: "c"}, "m has no member c."},
		"no routes":     {map[string]string{"a.thrift": good}, attach.IDL{ConfigMap: "m", Routes: "r"}, "m has no member r."},
		"a bad mapping": {map[string]string{"a.thrift": bad}, attach.IDL{ConfigMap: "m"}, "a.thrift:1:"},
	} {
		m := Compile(test.data, test.of)
		if (m.Problem == "") != (test.want == "") || !strings.Contains(m.Problem, test.want) || (m.Transcoding != nil) != (test.want == "") {
			t.Errorf("%s: %q", name, m.Problem)
		}
	}
}
