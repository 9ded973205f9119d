"""Parse the arguments of a script as its help text describes them.

Requires only: pip install sqltrack-args
"""

from sqltrack.args import ParsedOptions, docopt_main


@docopt_main
def main(args: ParsedOptions) -> None:
    """
    usage: example [options] [--learning-rate N...]

    options:
        -h --help                Show this text and end.
        --model M                Architecture to train [default: resnet18]
        -e N, --epochs N         How often to go through the data [default: 90]
        -b N, --batch-size N     How many samples make a batch
        -l R, --learning-rate R  Step size of the optimizer [default: 0.1]
        --amp                    Compute in mixed precision
    """
    print(args)
    print(args.epochs)


# Replaces the arguments of the command line. The decorator has called main() already, so a real script would not do
# this.
main({"amp": True, "epochs": 360})
