//go:build !linux

package peers

import "errors"

var errNoNamespaces = errors.New("peers: network namespaces are Linux's")

// Do calls f on a thread inside the namespace.
func (*Namespace) Do(func() error) error { return errNoNamespaces }

func holdPort() (port int, release func(), err error) { return 0, nil, errNoNamespaces }
