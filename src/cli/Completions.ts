/**
 * The scripts for shell completion, made from the commands.
 */
import * as Arguments from "./Arguments.ts"
import * as Commands from "./Commands.ts"

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

const bash = (): string => {
  const cases = Commands.all.map((command) => {
    const words = [...command.options, Arguments.help].map(({ name }) => `--${name}`)
    if (command.name === Commands.completions.name) words.push(...Commands.shells)
    return `    ${command.name}) words=${quote(words.join(" "))} ;;`
  })
  const choices = new Map(
    Commands.all.flatMap(({ options }) => options.map((option) => [option.name, option.choices] as const))
  )
  const values = [...choices].flatMap(([name, words]) =>
    words === undefined
      ? []
      : `  elif [ "\${COMP_WORDS[COMP_CWORD-1]}" = --${name} ]; then words=${quote(words.join(" "))}`
  )
  const pathless = Commands.all.filter(
    ({ operands }) => operands.length > 0 && operands.every(({ isNoPath }) => isNoPath === true)
  )
  const options = Commands.all.flatMap((command) => command.options)
  const paths = new Set(
    options.flatMap(({ name, short, value }) =>
      value === "DIR" || value === "FILE" ? [`--${name}`, ...(short === undefined ? [] : [`-${short}`])] : []
    )
  )
  return `_piecewise() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words=${quote(Commands.all.map(({ name }) => name).join(" "))}
${values.join("\n")}
  elif [[ ${quote(` ${[...paths].join(" ")} `)} == *" \${COMP_WORDS[COMP_CWORD-1]} "* ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current"); return
  elif [[ "$current" != -* && ${quote(` ${pathless.map(({ name }) => name).join(" ")} `)} != *" \${COMP_WORDS[1]} "* ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current"); return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o filenames -F _piecewise piecewise
`
}

const zsh = (): string => {
  // In zsh, a colon ends the name in a description, and a bracket ends its text.
  const escape = (text: string): string => text.replace(/[\\:[\]]/g, "\\$&")
  const cases = Commands.all.flatMap((command) => {
    const options = [...command.options, Arguments.help].map(({ about, choices, name, repeats, value }) => {
      const action = choices === undefined ? (value === "DIR" ? "_files -/" : "_files") : `(${choices.join(" ")})`
      const takes = value === undefined ? "" : `:${value.replaceAll(":", "\\:")}:${action}`
      return quote(`${repeats === true ? "*" : ""}--${name}[${escape(about)}]${takes}`)
    })
    const operands = command.operands.map(({ isNoPath, name, repeats }) => {
      const action = name === "SHELL" ? `(${Commands.shells.join(" ")})` : isNoPath === true ? " " : "_files"
      return quote(`${repeats === true ? "*" : ""}:${name}:${action}`)
    })
    return [`    ${command.name}) _arguments ${[...options, ...operands].join(" ")} ;;`]
  })
  return [
    "#compdef piecewise",
    "_piecewise() {",
    "  if (( CURRENT == 2 )); then",
    `    local -a commands=(${Commands.all.map(({ about, name }) => quote(`${name}:${escape(about)}`)).join(" ")})`,
    "    _describe command commands",
    "    return",
    "  fi",
    "  local command=$words[2]",
    "  shift words; (( CURRENT-- ))",
    "  case $command in",
    ...cases,
    "  esac",
    "}",
    'if [ "$funcstack[1]" = _piecewise ]; then _piecewise "$@"; else compdef _piecewise piecewise; fi',
    ""
  ].join("\n")
}

const fish = (): string => {
  const lines = Commands.all.flatMap((command) => {
    const within = `complete -c piecewise -n '__fish_seen_subcommand_from ${command.name}'`
    return [
      `complete -c piecewise -f -n __fish_use_subcommand -a ${command.name} -d ${quote(command.about)}`,
      ...command.options.map(({ about, choices, name, short, value }) =>
        [
          within,
          ...(short === undefined ? [] : [`-s ${short}`]),
          `-l ${name}`,
          ...(value === undefined ? [] : ["-r"]),
          ...(choices === undefined ? [] : [`-f -a ${quote(choices.join(" "))}`]),
          `-d ${quote(about)}`
        ].join(" ")
      ),
      ...(command.name === Commands.completions.name ? [`${within} -f -a ${quote(Commands.shells.join(" "))}`] : [])
    ]
  })
  return [...lines, ""].join("\n")
}

/** The completion script of a shell; `undefined` if the shell is not supported. */
export const of = (shell: string): string | undefined => {
  switch (shell) {
    case "bash":
      return bash()
    case "zsh":
      return zsh()
    case "fish":
      return fish()
    default:
      return undefined
  }
}
