/**
 * Identifies a start of the machine, as a text in resume data: bytes that were written but not flushed are there until
 * the machine is restarted.
 *
 * Errs on one side: two identities that cannot be compared count as different, which costs a verification, whereas an
 * unnoticed restart would cost wrong bytes. A provider reads the facts from the system.
 */

/** An identity as text of at most 64 characters, or the empty text if nothing is known. */
export type BootIdentity = string

/** Nothing is known; equal to nothing, itself included. */
export const unknown: BootIdentity = ""

/** The identity of a machine that names its starts, as Linux does in `/proc/sys/kernel/random/boot_id`. */
export const fromName = (name: string): BootIdentity => {
  const trimmed = name.trim()
  return /^[0-9a-zA-Z-]{1,48}$/.test(trimmed) ? `name:${trimmed}` : unknown
}

/** The identity of a machine of which only the time of its start is known, in seconds since 1970. */
export const fromTime = (seconds: number): BootIdentity => `time:${Math.round(seconds)}`

/**
 * How far apart two readings of one start may be, in seconds. The time of start is computed from a clock that is
 * corrected now and then, and from an uptime in whole seconds. No machine shuts down and starts again within this.
 */
export const toleranceSeconds = 3

/** Whether both name the same start of the machine. */
export const isSame = (self: BootIdentity, that: BootIdentity): boolean => {
  if (self === unknown || that === unknown) return false
  if (self.startsWith("time:") && that.startsWith("time:"))
    return Math.abs(Number(self.slice(5)) - Number(that.slice(5))) <= toleranceSeconds
  return self === that
}
