package userland

import (
	"fmt"
	"strings"
)

// dumpPolicy is the section of dumpsys window that tells of the keyguard.
// showingAndNotOccluded stays true on an unlocked phone: it is read from a state
// that nobody clears, on real phones too.
func (s *System) dumpPolicy() string {
	awake := s.cfg.Screen.Awake()
	showing, secure := s.locked()
	screen, interactive := "SCREEN_STATE_ON", "INTERACTIVE_STATE_AWAKE"
	if !awake {
		screen, interactive = "SCREEN_STATE_OFF", "INTERACTIVE_STATE_SLEEP"
	}
	var b strings.Builder
	b.WriteString("WINDOW MANAGER POLICY STATE (dumpsys window policy)\n    mSafeMode=false mSystemReady=true mSystemBooted=true\n")
	if s.cfg.Identity.Ten() {
		b.WriteString("    mCameraLensCoverState=CAMERA_LENS_COVER_ABSENT\n    mWakeGestureEnabledSetting=false\n    mUiMode=UI_MODE_TYPE_NORMAL\n")
	} else {
		b.WriteString("    mLidState=LID_ABSENT mLidOpenRotation=ROTATION_0 mCameraLensCoverState=CAMERA_LENS_COVER_ABSENT mHdmiPlugged=false\n")
	}
	fmt.Fprintf(&b, "    mAwake=%[1]t mScreenOnEarly=%[1]t mScreenOnFully=%[1]t\n    mShowingDream=false mDreamingLockscreen=%[2]t mDreamingSleepToken=null\n"+
		"    mKeyguardDrawComplete=%[1]t mWindowManagerDrawComplete=%[1]t\n", awake, showing)
	fmt.Fprintf(&b, "    KeyguardServiceDelegate\n      showing=%t\n      showingAndNotOccluded=true\n      inputRestricted=%[1]t\n      occluded=false\n"+
		"      secure=%[2]t\n      dreaming=false\n      systemIsReady=true\n      deviceHasKeyguard=true\n      enabled=true\n"+
		"      offReason=OFF_BECAUSE_OF_USER\n      currentUser=-10000\n      bootCompleted=true\n      screenState=%[3]s\n      interactiveState=%[4]s\n"+
		"      KeyguardStateMonitor\n        mIsShowing=%[1]t\n        mSimSecure=false\n        mInputRestricted=%[1]t\n        mTrusted=false\n        mCurrentUserId=0\n\n",
		showing, secure, screen, interactive)
	return b.String()
}

// dumpTrust is dumpsys trust. A keyguard without a secret does not lock the
// device in its sense.
func (s *System) dumpTrust() string {
	showing, secure := s.locked()
	return fmt.Sprintf("Trust manager state:\n User \"Owner\" (id=0, flags=0x13) (current): trusted=0, trustManaged=0, deviceLocked=%d, strongAuthRequired=0x0\n"+
		"   Enabled agents:\n   Events:\n", oneIf(showing && secure))
}

func (s *System) dumpPower() string {
	c := s.Condition()
	state, plug := "Awake", 2
	if !s.cfg.Screen.Awake() {
		state = "Asleep"
	}
	if !c.Charging {
		plug = 0
	}
	stay, _ := s.settings.get("global", "stay_on_while_plugged_in")
	return fmt.Sprintf("POWER MANAGER (dumpsys power)\n\nPower Manager State:\n  mDirty=0x0\n  mWakefulness=%s\n"+
		"  mWakefulnessChanging=false\n  mIsPowered=%t\n  mPlugType=%d\n  mBatteryLevel=%d\n  mBatteryLevelWhenDreamStarted=0\n  mDockState=0\n"+
		"  mStayOn=%t\n  mProximityPositive=false\n  mBootCompleted=true\n  mSystemReady=true\n  mHalAutoSuspendModeEnabled=%[6]t\n"+
		"  mHalInteractiveModeEnabled=%[7]t\n  mWakeLockSummary=0x0\n  mUserActivitySummary=0x1\n  mDeviceIdleMode=false\n\nDisplay Power: state=%[8]s\n",
		state, c.Charging, plug, c.Battery, c.Charging && stay != "0" && stay != "", !s.cfg.Screen.Awake(), s.cfg.Screen.Awake(), onOff(s.cfg.Screen.Awake()))
}

// dumpBattery is dumpsys battery. status 2 is charging and 3 discharging;
// health 2 is good and 3 overheated.
func (s *System) dumpBattery() string {
	c := s.Condition()
	status, health := 2, 2
	switch {
	case !c.Charging:
		status = 3
	case c.Battery >= 100:
		status = 5
	}
	if c.Temperature >= 600 {
		health = 3
	}
	return fmt.Sprintf("Current Battery Service state:\n  AC powered: false\n  USB powered: %t\n  Wireless powered: false\n"+
		"  Max charging current: 500000\n  Max charging voltage: 5000000\n  Charge counter: %d\n  status: %d\n"+
		"  health: %d\n  present: true\n  level: %d\n  scale: 100\n  voltage: %d\n  temperature: %d\n  technology: Li-poly\n",
		c.Charging, c.Battery*42000, status, health, c.Battery, 3400+c.Battery*10, c.Temperature)
}
