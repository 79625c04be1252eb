package devices

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/shogo82148/androidbinary/apk"

	"github.com/offproof/offproof/devices/adb"
)

const kindApp = "app"

// InstallApp is the installation of an app from an APK file of this host, such as
// an instrument of the bench. Its undo uninstalls it, with its data. An app that
// is on the phone already is not replaced, because nothing could bring back the
// old one.
type InstallApp struct {
	// Path is the APK; it is read again when the change is made.
	Path string
}

var _ Undoable = InstallApp{}

// appUndo is an app that was not on the phone.
type appUndo struct {
	Package string `json:"package"`
	SHA256  string `json:"sha256"` // of the APK, in hexadecimal
	File    string `json:"file"`
}

// An InstallError says that the phone did not take an app, in its own words.
type InstallError struct{ Serial, Package, Text string }

func (e *InstallError) Error() string {
	advice := "see what the phone's words mean in Android's PackageManager"
	switch {
	case strings.Contains(e.Text, "USER_RESTRICTED"), strings.Contains(e.Text, "CANCELED_BY_USER"):
		advice = "turn on \"Install via USB\" in Developer options, and accept what the phone asks"
	case strings.Contains(e.Text, "STORAGE"):
		advice = "make room on the phone"
	case strings.Contains(e.Text, "OLDER_SDK"), strings.Contains(e.Text, "NO_MATCHING_ABIS"):
		advice = "use an APK that is made for this phone"
	}
	return fmt.Sprintf("devices: phone %s: install %s: %s: %s", e.Serial, e.Package, e.Text, advice)
}

func (a InstallApp) prepare(ctx context.Context, d *Device) (undo, error) {
	content, err := os.ReadFile(a.Path)
	if err != nil {
		return nil, fmt.Errorf("install an app: %w", err)
	}
	name, err := apkPackage(content)
	if err != nil {
		return nil, fmt.Errorf("install %s: %w", a.Path, err)
	}
	switch there, err := d.Package(ctx, name); {
	case err == nil:
		return nil, fmt.Errorf("install %s: %s %s is on the phone already: uninstall it first, or go on with that one", a.Path, name, there.VersionName)
	case !errors.Is(err, ErrNotInstalled):
		return nil, err
	}
	sum := sha256.Sum256(content)
	return &appUndo{Package: name, SHA256: hex.EncodeToString(sum[:]), File: a.Path}, nil
}

// apkPackage is the name of the package in an APK.
func apkPackage(content []byte) (string, error) {
	file, err := apk.OpenZipReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return "", fmt.Errorf("it is no APK: %w", err)
	}
	name := file.PackageName()
	return name, checkName("package", name)
}

// apply streams the app to the phone, so that no file is left there, and reads
// back that it is the one that was meant.
func (a InstallApp) apply(ctx context.Context, d *Device, u undo) error {
	want, ok := u.(*appUndo)
	if !ok {
		return fmt.Errorf("install %s: the undo is of another change", a.Path)
	}
	content, err := os.ReadFile(a.Path)
	if err != nil {
		return fmt.Errorf("install an app: %w", err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want.SHA256 {
		return fmt.Errorf("install %s: the file was changed while it was installed", a.Path)
	}
	// What one command reads from its input needs Android 7.
	result, err := d.ScriptInput(ctx, adb.Quote("cmd", "package", "install", "-S", strconv.Itoa(len(content))), io.LimitReader(bytes.NewReader(content), int64(len(content))))
	if err != nil {
		return err
	}
	said := strings.TrimSpace(string(result.Stdout) + "\n" + string(result.Stderr))
	if !strings.Contains(said, "Success") {
		return &InstallError{Serial: d.serial, Package: want.Package, Text: strings.Join(strings.Fields(said), " ")}
	}
	there, err := d.Package(ctx, want.Package)
	if err == nil && there.SHA256 != want.SHA256 {
		err = fmt.Errorf("read back: the phone has an app of the hash %q", there.SHA256)
	}
	return err
}

func (u *appUndo) kind() string { return kindApp }
func (u *appUndo) note() string { return "" }

func (u *appUndo) what() string { return fmt.Sprintf("app %s, installed from %s", u.Package, u.File) }

func (u *appUndo) byHand(serial string) string {
	return adb.Quote("adb", "-s", serial, "uninstall", u.Package)
}

// revert uninstalls the app. One of another hash was put there by somebody else
// since, and is left to them.
func (u *appUndo) revert(ctx context.Context, d *Device) error {
	fail := func(err error) error { return fmt.Errorf("undo %s: %w", u.what(), err) }
	there, err := d.Package(ctx, u.Package)
	switch {
	case errors.Is(err, ErrNotInstalled):
		return nil
	case err != nil:
		return fail(err)
	case there.SHA256 != u.SHA256:
		return fail(fmt.Errorf("another version of it is on the phone now (%s): uninstall it by hand if it is not wanted", there.VersionName))
	}
	if _, err := d.Output(ctx, "pm", "uninstall", u.Package); err != nil {
		return fail(err)
	}
	if _, err := d.Package(ctx, u.Package); !errors.Is(err, ErrNotInstalled) {
		return fail(fmt.Errorf("read back: it is still there (%v)", err)) //nolint:errorlint // A nil error says so too.
	}
	return nil
}
