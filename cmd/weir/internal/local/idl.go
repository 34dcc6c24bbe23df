// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/mapping"
)

// IDL is one `--idl` flag: what makes requests at a port of a Service into calls of Thrift.
type IDL struct {
	// Service and Port, as a Listener has them.
	Service, Port string
	// File and Routes are paths; Routes may be empty. Include is a folder, by default the
	// file's.
	File, Routes, Include string
}

// ParseIDL reads name=SERVICE/PORT,file=FILE[,routes=FILE][,include=DIR].
func ParseIDL(s string) (IDL, error) {
	var i IDL
	for part := range strings.SplitSeq(s, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok || v == "" {
			return i, fmt.Errorf("--idl %q: %q is not key=value; it looks like name=payments/http,file=payments.thrift", s, part)
		}
		switch k {
		case "name":
			if i.Service, i.Port, ok = strings.Cut(v, "/"); !ok || i.Service == "" || i.Port == "" {
				return i, fmt.Errorf("--idl %q: name is service/port, as in payments/http", s)
			}
		case "file":
			i.File = v
		case "routes":
			i.Routes = v
		case "include":
			i.Include = v
		default:
			return i, fmt.Errorf("--idl %q: %q is not known; use name, file, routes and include", s, k)
		}
	}
	if i.Service == "" || i.File == "" {
		return i, fmt.Errorf("--idl %q: name and file are needed, as in name=payments/http,file=payments.thrift", s)
	}
	return i, nil
}

// ParseIDLs is ParseIDL for each flag.
func ParseIDLs(flags []string) ([]IDL, error) {
	var out []IDL
	for _, s := range flags {
		i, err := ParseIDL(s)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// read is the members that a ConfigMap of the files would have: what is in the folders.
func (i IDL) read() (map[string]string, attach.IDL, error) {
	of := attach.IDL{ConfigMap: i.Service + "." + i.Port, File: filepath.Base(i.File)}
	data := map[string]string{}
	paths := []string{i.File}
	for _, dir := range []string{filepath.Dir(i.File), i.Include} {
		if dir == "" {
			continue
		}
		more, err := filepath.Glob(filepath.Join(dir, "*.thrift"))
		if err != nil {
			return nil, of, err
		}
		paths = append(paths, more...)
	}
	if i.Routes != "" {
		of.Routes = filepath.Base(i.Routes)
		paths = append(paths, i.Routes)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		if _, there := data[name]; there {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, of, err
		}
		data[name] = string(text)
	}
	return data, of, nil
}

// annotate gives Services their annotations, and returns the mappings. Problems are
// sentences by service/port; warnings are too.
func annotate(services []corev1.Service, idls []IDL) (out map[attach.IDL]*snapshot.Transcoding, problems, warnings []string, err error) {
	out = map[attach.IDL]*snapshot.Transcoding{}
	for _, i := range idls {
		var on *corev1.Service
		for n := range services {
			if services[n].Name == i.Service {
				on = &services[n]
			}
		}
		data, of, err := i.read()
		if err != nil {
			return nil, nil, nil, fmt.Errorf("--idl: %w", err)
		}
		m := mapping.Compile(data, of)
		switch {
		case m.Problem != "":
			problems = append(problems, i.Service+"/"+i.Port+": "+m.Problem)
		case m.Warnings != "":
			warnings = append(warnings, i.Service+"/"+i.Port+": "+m.Warnings)
		}
		if m.Transcoding != nil {
			out[of] = m.Transcoding
		}
		if on == nil {
			problems = append(problems, i.Service+"/"+i.Port+": There is no such port here.")
			continue
		}
		if on.Annotations == nil {
			on.Annotations = map[string]string{}
		}
		if said := on.Annotations[attach.AnnotationThriftIDL]; said != "" {
			on.Annotations[attach.AnnotationThriftIDL] = said + ";"
		}
		on.Annotations[attach.AnnotationThriftIDL] += i.Port + "=" + of.String()
	}
	return out, problems, warnings, nil
}
