package devices

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // The name of the file is an MD5 sum by Android's definition.
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/android"
)

const (
	kindCA = "ca"

	// caStore is the system's certificate store up to Android 13.
	caStore = "/system/etc/security/cacerts"
	// caMark begins the source name of every mount of ours. It shows in
	// /proc/mounts from the same moment as the mount itself, so that a run killed
	// in between cannot leave a mount without a mark.
	caMark = "offproof-"
	// caStage is where the new store is put together.
	caStage = "/data/local/tmp/"

	// lastStoreSDK is Android 13; later the store is an APEX.
	lastStoreSDK = 33
)

// InstallCA is the change that makes every app that trusts the system store
// trust one more certificate: a tmpfs over the store, with copies of the old
// certificates and ours beside them. It needs root and Android 13 or earlier. A
// restart of the phone undoes it too.
type InstallCA struct {
	// PEM holds exactly one CA certificate. Other blocks, such as a private key,
	// are refused: the key never leaves the host.
	PEM []byte
}

var _ Undoable = InstallCA{}

// caUndo is what marks our mount.
type caUndo struct {
	ID   string `json:"id"`   // ends the mount's source name
	File string `json:"file"` // the certificate's name in the store
}

// certificate reads the one certificate.
func (c InstallCA) certificate() (*x509.Certificate, []byte, error) {
	block, rest := pem.Decode(c.PEM)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, nil, errors.New("install CA: want exactly one PEM block, a CERTIFICATE")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("install CA: read certificate: %w", err)
	}
	if !cert.IsCA {
		return nil, nil, fmt.Errorf("install CA: %q is no CA", cert.Subject)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), nil
}

// SubjectHash is the name, without its suffix, under which Android looks for a
// certificate in its store: OpenSSL's subject_hash_old.
func SubjectHash(cert *x509.Certificate) string {
	sum := md5.Sum(cert.RawSubject) //nolint:gosec // By Android's definition.
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum[:4]))
}

func (c InstallCA) prepare(ctx context.Context, d *Device) (undo, error) {
	cert, _, err := c.certificate()
	if err != nil {
		return nil, err
	}
	sdk, err := d.Output(ctx, "getprop", "ro.build.version.sdk")
	if err != nil {
		return nil, err
	}
	var level int
	if _, err := fmt.Sscan(sdk, &level); err != nil {
		return nil, fmt.Errorf("install CA: read Android's version: %q: %w", sdk, err)
	}
	if level > lastStoreSDK {
		return nil, fmt.Errorf("install CA: Android API level %d keeps its certificates in an APEX, which is not supported (up to %d is)", level, lastStoreSDK)
	}
	if _, err := d.AsRoot(ctx, "true"); err != nil {
		return nil, fmt.Errorf("install CA: %w", err)
	}
	names, err := d.certificates(ctx)
	if err != nil {
		return nil, fmt.Errorf("install CA: %w", err)
	}
	// Two certificates of one subject hash are told apart by the number.
	file := ""
	for i := range 10 {
		file = fmt.Sprintf("%s.%d", SubjectHash(cert), i)
		if !slices.Contains(names, file) {
			break
		}
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("install CA: %w", err)
	}
	return &caUndo{ID: hex.EncodeToString(id), File: file}, nil
}

// certificates names the files of the store.
func (d *Device) certificates(ctx context.Context) ([]string, error) {
	out, err := d.Output(ctx, "ls", caStore)
	if err != nil {
		return nil, err
	}
	return strings.Fields(out), nil
}

func (c InstallCA) apply(ctx context.Context, d *Device, prepared undo) error {
	u, ok := prepared.(*caUndo)
	if !ok {
		return errors.New("install CA: the undo is that of another change")
	}
	_, encoded, err := c.certificate()
	if err != nil {
		return err
	}
	// What a crashed run left would be copied into the new store.
	if err := removeCAMounts(ctx, d); err != nil {
		return err
	}
	before, err := d.certificates(ctx)
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return fmt.Errorf("%s is empty", caStore)
	}
	if err := d.Push(ctx, bytes.NewReader(encoded), u.pem(), 0o644); err != nil {
		return err
	}
	script, err := d.AsRoot(ctx, u.script())
	if err != nil {
		return err
	}
	result, err := d.Script(ctx, script)
	if err != nil {
		return err
	}
	if err := d.check(result, "mount", caStore); err != nil {
		return err
	}
	return u.readBack(ctx, d, before, encoded)
}

func (u *caUndo) source() string { return caMark + u.ID }
func (u *caUndo) stage() string  { return caStage + caMark + u.ID }
func (u *caUndo) pem() string    { return u.stage() + ".pem" }

// script puts the store together beside its place, so that the store is empty
// for as short as can be, and takes the mount away again if filling it failed.
func (u *caUndo) script() string {
	stage, store, source, certificate := u.stage(), caStore, u.source(), u.pem()
	target := store + "/" + u.File
	lines := []string{
		"rm -rf " + stage,
		"mkdir " + stage + " || exit 1",
		"cp " + store + "/* " + stage + "/ || exit 1",
		"cp " + certificate + " " + stage + "/" + u.File + " || exit 1",
		"chmod 644 " + stage + "/* || exit 1",
		// An undo that overtook this script has removed the certificate.
		"[ -e " + certificate + " ] || exit 1",
		"mount -t tmpfs " + source + " " + store + " || exit 1",
		"if cp " + stage + "/* " + store + "/ && chmod 755 " + store + " && chmod 644 " + store + "/* && cat " + target + " >/dev/null; then failed=0; else umount " + store + "; failed=1; fi",
		// Without the label of the system's files SELinux hides the store from apps.
		"chcon u:object_r:system_file:s0 " + store + " " + store + "/* 2>/dev/null",
		"rm -rf " + stage + " " + certificate,
		"exit $failed",
	}
	return strings.Join(lines, "\n")
}

// readBack looks at the store as apps will: not as root, whose su may have a
// mount namespace of its own.
func (u *caUndo) readBack(ctx context.Context, d *Device, before []string, encoded []byte) error {
	ours, _, err := caMounts(ctx, d)
	if err != nil {
		return err
	}
	if ours == 0 {
		return errors.New("read back: the mount is not visible outside of root's own mount namespace: set su to the global namespace")
	}
	after, err := d.certificates(ctx)
	if err != nil {
		return err
	}
	for _, name := range before {
		if !slices.Contains(after, name) {
			return fmt.Errorf("read back: certificate %s is missing from the new store", name)
		}
	}
	got, err := d.Output(ctx, "cat", caStore+"/"+u.File)
	if err != nil {
		return err
	}
	if got != strings.TrimSpace(string(encoded)) {
		return fmt.Errorf("read back: %s/%s is not the certificate that was installed", caStore, u.File)
	}
	return nil
}

// caMounts counts the mounts of ours over the store, and says whether one of
// ours is the topmost.
func caMounts(ctx context.Context, d *Device) (ours int, topmost bool, err error) {
	result, err := d.Shell(ctx, "cat", "/proc/mounts")
	if err != nil {
		return 0, false, err
	}
	if err := d.check(result, "cat", "/proc/mounts"); err != nil {
		return 0, false, err
	}
	mounts := android.ParseMounts(string(result.Stdout))
	if len(mounts) == 0 {
		return 0, false, errors.New("read /proc/mounts: nothing that can be read")
	}
	for _, m := range mounts {
		if m.Target != caStore {
			continue
		}
		topmost = strings.HasPrefix(m.Source, caMark)
		if topmost {
			ours++
		}
	}
	return ours, topmost, nil
}

// removeCAMounts takes every store of ours away, and reads that back. It never
// takes away what somebody else has mounted over ours.
func removeCAMounts(ctx context.Context, d *Device) error {
	const most = 16
	for range most {
		ours, topmost, err := caMounts(ctx, d)
		if err != nil {
			return err
		}
		if ours == 0 {
			return nil
		}
		if !topmost {
			return fmt.Errorf("%s: somebody else has mounted over our store: restart the phone", caStore)
		}
		// Lazily where a reader keeps the store busy: new readers see the old one.
		script, err := d.AsRoot(ctx, "umount "+caStore+" || umount -l "+caStore)
		if err != nil {
			return err
		}
		result, err := d.Script(ctx, script)
		if err != nil {
			return err
		}
		if err := d.check(result, "umount", caStore); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: more than %d stores of ours: restart the phone", caStore, most)
}

func (u *caUndo) kind() string { return kindCA }
func (u *caUndo) note() string { return "" }

func (u *caUndo) what() string {
	return fmt.Sprintf("CA CERTIFICATE %s in the system store", u.File)
}

func (u *caUndo) byHand(serial string) string {
	return adb.Quote("adb", "-s", serial, "shell", adb.Quote("su", "-c", "umount "+caStore)) + " # or restart the phone"
}

func (u *caUndo) revert(ctx context.Context, d *Device) error {
	if _, err := hex.DecodeString(u.ID); err != nil || u.ID == "" {
		return fmt.Errorf("undo %s: the mark %q is damaged", u.what(), u.ID)
	}
	// First the stage, without which a script that still runs mounts nothing. It
	// belongs to root.
	if left, err := d.Shell(ctx, "ls", "-d", u.stage(), u.pem()); err == nil && len(left.Stdout) > 0 {
		script, err := d.AsRoot(ctx, "rm -rf "+u.stage()+" "+u.pem())
		if err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
		result, err := d.Script(ctx, script)
		if err == nil {
			err = d.check(result, "rm", u.stage())
		}
		if err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
	}
	if err := removeCAMounts(ctx, d); err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	names, err := d.certificates(ctx)
	if err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	if slices.Contains(names, u.File) {
		return fmt.Errorf("undo %s: read back: the certificate is still there", u.what())
	}
	return nil
}
