/** What a check of `piecewise doctor` found. */

/** The result of a check. What cannot be found out from here is `unknown`, which is no failure. */
export interface Finding {
  readonly name: string
  readonly state: "works" | "fails" | "unknown"
  /** What was found: a clause for people. */
  readonly what: string
  /** What to do about it; `undefined` if there is nothing to do. */
  readonly advice: string | undefined
}

/** Something works. */
export const works = (name: string, what: string, advice?: string): Finding => ({ name, state: "works", what, advice })

/** Something does not work. */
export const fails = (name: string, what: string, advice: string): Finding => ({ name, state: "fails", what, advice })

/** Whether something works cannot be found out. */
export const unknown = (name: string, what: string, advice?: string): Finding => ({
  name,
  state: "unknown",
  what,
  advice
})
