/**
 * Which start of the machine this is, as a text that resume data carries along: bytes that were written but not flushed
 * are there as long as the machine has not been restarted.
 *
 * Errs on one side: two identities that cannot be compared count as different, which costs a verification, whereas a
 * restart that goes unnoticed would cost wrong bytes. Reading the facts from the system is the provider's task.
 */

/** An identity as text of at most 64 characters, or the empty text where nothing is known. */
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
 * corrected now and then and an uptime in whole seconds. No machine goes down and comes up again within this.
 */
export const toleranceSeconds = 3

/** Whether both name the same start of the machine. */
export const isSame = (self: BootIdentity, that: BootIdentity): boolean => {
  if (self === unknown || that === unknown) return false
  if (self.startsWith("time:") && that.startsWith("time:"))
    return Math.abs(Number(self.slice(5)) - Number(that.slice(5))) <= toleranceSeconds
  return self === that
}
