// SPDX-License-Identifier: Apache-2.0

// Command image packs static binaries into container images without Docker.
//
// In: for each image a name, files, an entry point and a user. Out: one
// OCI archive that `docker load` and `ctr images import` read, or a push to a
// registry. The same files give the same digest on any machine:
// times are fixed and nothing of the machine goes in.
//
// It must never pack a binary that needs a dynamic linker, which an image
// without a base doesn't have.
package main
