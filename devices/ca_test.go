package devices_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/internal/peers"
)

const store = "/system/etc/security/cacerts"

// newCA makes a CA certificate and its key, both as PEM.
func newCA(t *testing.T, name string, isCA bool) (cert *x509.Certificate, certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"offproof, a test: ünïcode"}},
		NotAfter: time.Now().Add(time.Hour), IsCA: isCA, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// OpenSSL names the files of Android's store, so it is asked.
func TestSubjectHashIsOpenSSLs(t *testing.T) {
	openssl := peers.Require(t, "openssl")
	for _, name := range []string{"offproof 1", "another", "ü"} {
		cert, certPEM, _ := newCA(t, name, true)
		cmd := exec.CommandContext(within(t), openssl, "x509", "-noout", "-subject_hash_old") //nolint:gosec // A peer.
		cmd.Stdin = bytes.NewReader(certPEM)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := devices.SubjectHash(cert), strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s: got %s, openssl says %s", name, got, want)
		}
	}
}

// newRootedPhone is a phone whose scripts run by the genuine sh, mount and
// umount in a mount namespace and a root of their own.
func newRootedPhone(t *testing.T) *phone {
	t.Helper()
	peers.RequireRoot(t)
	unshare, nsenter := peers.Require(t, "unshare"), peers.Require(t, "nsenter")
	p := newPhone(t)
	for _, dir := range []string{store, "/data/local/tmp", "/proc", "/dev", "/phone", "/tmp"} {
		if err := os.MkdirAll(p.root+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"00673b5b.0": "old certificate 1\n", "d16a5865.0": "old certificate 2\n"} {
		if err := os.WriteFile(filepath.Join(p.root, store, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The namespace is private: nothing that is mounted in it reaches the host.
	script := `set -e
for d in bin sbin lib lib64 usr; do
	[ -e /$d ] || continue
	if [ -L /$d ]; then cp -P /$d "$R/"; else mkdir -p "$R/$d"; mount --rbind /$d "$R/$d"; fi
done
mount -t proc proc "$R/proc"
mount --bind "$R" "$R/phone"
: > "$R/dev/null"; mount --bind /dev/null "$R/dev/null"
exec chroot "$R" sh -c 'echo ready; exec cat'`
	cmd := exec.CommandContext(t.Context(), unshare, "-m", "--propagation", "private", "sh", "-c", script) //nolint:gosec // A peer.
	cmd.Env = append(os.Environ(), "R="+p.root)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	word := make([]byte, len("ready\n"))
	if _, err := stdout.Read(word); err != nil || string(word) != "ready\n" {
		t.Fatalf("no mount namespace: %q, %v", word, err)
	}
	p.prefix = []string{nsenter, "-t", strconv.Itoa(cmd.Process.Pid), "-m", "-r"}
	return p
}

// look lists the store as the phone's apps see it.
func (p *phone) look(t *testing.T) map[string]string {
	t.Helper()
	d := p.device()
	names, err := d.Output(within(t), "ls", store)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range strings.Fields(names) {
		content, err := d.Shell(within(t), "cat", store+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content.Stdout)
	}
	return files
}

func (p *phone) mustBeClean(t *testing.T, when string) {
	t.Helper()
	if got := p.look(t); len(got) != 2 || got["d16a5865.0"] != "old certificate 2\n" {
		t.Errorf("%s: the store is %v", when, got)
	}
	d := p.device()
	if mounts, err := d.Output(within(t), "cat", "/proc/mounts"); err != nil || strings.Contains(mounts, "offproof-") {
		t.Errorf("%s: mounts are %s, %v", when, mounts, err)
	}
	if left, err := d.Output(within(t), "ls", "-a", "/data/local/tmp"); err != nil || strings.Contains(left, "offproof") {
		t.Errorf("%s: left behind: %s, %v", when, left, err)
	}
}

func TestInstallCA(t *testing.T) {
	p := newRootedPhone(t)
	cert, certPEM, _ := newCA(t, "offproof", true)
	dir := t.TempDir()
	j := open(t, dir, p)
	if err := j.Change(within(t), p.device(), devices.InstallCA{PEM: certPEM}); err != nil {
		t.Fatal(err)
	}
	got := p.look(t)
	if len(got) != 3 || got["00673b5b.0"] != "old certificate 1\n" || got[devices.SubjectHash(cert)+".0"] != string(certPEM) {
		t.Errorf("the store is %v", got)
	}
	if modes, err := p.device().Output(within(t), "stat", "-c", "%a", store, store+"/"+devices.SubjectHash(cert)+".0"); err != nil || modes != "755\n644" {
		t.Errorf("modes are %q, %v: apps must be able to read", modes, err)
	}
	// A second certificate of the same subject gets the next number.
	_, second, _ := newCA(t, "offproof", true)
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Fatal(err)
	}
	p.mustBeClean(t, "undone")
	if err := os.WriteFile(filepath.Join(p.root, store, devices.SubjectHash(cert)+".0"), []byte("somebody's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.Change(within(t), p.device(), devices.InstallCA{PEM: second}); err != nil {
		t.Fatal(err)
	}
	if got := p.look(t); got[devices.SubjectHash(cert)+".0"] != "somebody's\n" || got[devices.SubjectHash(cert)+".1"] != string(second) {
		t.Errorf("the store is %v", got)
	}
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(p.root, store, devices.SubjectHash(cert)+".0")); err != nil {
		t.Fatal(err)
	}
	// What a run without its journal has left is found by a sweep.
	if err := j.Change(within(t), p.device(), devices.InstallCA{PEM: certPEM}); err != nil {
		t.Fatal(err)
	}
	p.set("global", "http_proxy", "localhost:8080")
	found, err := devices.Sweep(within(t), p.device())
	if err != nil || len(found) != 2 {
		t.Errorf("swept %v, %v", found, err)
	}
	p.mustBeClean(t, "swept")
	if got := present(p); len(got) != 0 {
		t.Errorf("settings are %v", got)
	}
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Errorf("undo of what is gone already: %v", err)
	}
}

// Wherever the connection breaks, undo leaves the old store.
func TestInstallCACutAnywhere(t *testing.T) {
	t.Parallel()
	p := newRootedPhone(t)
	_, certPEM, _ := newCA(t, "offproof", true)
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			j := open(t, t.TempDir(), p)
			var cut atomic.Bool
			p.during(func(n int, isAfter bool, _ string) bool {
				if n == at && isAfter == after {
					cut.Store(true)
					return false
				}
				return true
			})
			err := j.Change(within(t), p.device(), devices.InstallCA{PEM: certPEM})
			p.during(nil)
			var lost *devices.LostError
			if cut.Load() && !errors.As(err, &lost) {
				t.Errorf("cut at %d, after %v: got %v, want a *LostError", at, after, err)
			}
			if err := j.Undo(within(t), p.device()); err != nil {
				t.Errorf("cut at %d, after %v: %v", at, after, err)
			}
			p.mustBeClean(t, "cut at "+strconv.Itoa(at))
			if !cut.Load() {
				break
			}
		}
	}
}

func TestInstallCARefusals(t *testing.T) {
	_, certPEM, keyPEM := newCA(t, "offproof", true)
	_, leaf, _ := newCA(t, "leaf", false)
	p := newPhone(t)
	dir := t.TempDir()
	j := open(t, dir, p)
	for name, bad := range map[string][]byte{
		"nothing": nil, "a key": keyPEM, "a certificate with its key": append(bytes.Clone(certPEM), keyPEM...), "no CA": leaf, "garbage": []byte("x"),
	} {
		if err := j.Change(within(t), p.device(), devices.InstallCA{PEM: bad}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	p.command("getprop", "#!/bin/sh\necho 34\n")
	if err := j.Change(within(t), p.device(), devices.InstallCA{PEM: certPEM}); err == nil || !strings.Contains(err.Error(), "APEX") {
		t.Errorf("Android 14: got %v", err)
	}
	p.command("getprop", "#!/bin/sh\necho 28\n")
	p.command("id", "#!/bin/sh\necho 2000\n")
	p.command("su", "#!/bin/sh\nexit 127\n")
	var not *devices.NotRootError
	if err := j.Change(within(t), p.device(), devices.InstallCA{PEM: certPEM}); !errors.As(err, &not) {
		t.Errorf("no root: got %v", err)
	}
	if left := j.Pending(); len(left) != 0 {
		t.Errorf("nothing was changed, but the journal says %v", left)
	}
}
