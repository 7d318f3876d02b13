/**
 * Numbers of one run of a session, as texts that a client keeps and sends back: `RUN.NUMBER`. A text of another run, or
 * of a number that there was not yet, is recognized. Plain code.
 */

/** The text of a number. `run` distinguishes a session from others, and from itself in another run. It has no dot. */
export const textOf = (run: string, number: number): string => `${run}.${number}`

/** The number in a text; `undefined` if it is of another run, no such text, or above `last`. */
export const numberIn = (run: string, text: string, last: number): number | undefined => {
  const [name, digits = "", ...rest] = text.split(".")
  if (name !== run || rest.length > 0 || !/^\d{1,15}$/.test(digits)) return undefined
  const number = Number(digits)
  return number > last ? undefined : number
}
