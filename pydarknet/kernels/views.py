"""Named tuples that kernels take beside their arrays: where a tensor's cells are, how windows move, packed
filters, the division of work. Callers can make them without loading Numba or NumPy.

Arrays that kernels write stay plain arguments. Rules:

* Never write to an array through a member of a tuple inside `prange`. Numba compiles such a write and then drops it
  without a message (seen with Numba 0.68.1).
* Members are numbers or arrays, and no tuples themselves: Numba takes a tuple apart at a parallel loop one
  level deep only.
* A kernel gets a tuple as an argument, or makes it by calling the class itself. A device function must not return one.
* Callers pass members of Python's types (int, bool). A member of another type is another kind of argument, for which
  the kernel is compiled again.
"""

from typing import Any, NamedTuple


class Planes(NamedTuple):
    """The geometry of blocked activations, in a tensor's flat array (`addressing.cell`)."""

    pictures: int
    blocks: int  # of LANES channels
    height: int  # rows of a plane, without the halo
    width: int  # cells of a row, without the halo
    picture_stride: int  # floats from picture to picture
    block_stride: int  # floats from block to block
    pitch: int  # cells from row to row, halo included
    halo: int  # cells of zeros round each plane
    fill: int = 0  # the 32-bit word that zeros are


class Strides(NamedTuple):
    """Cells at regular distances: all of a tensor, every n-th of its rows and columns, or one cell again and
    again where a stride is 0 (`addressing.strided_cell`)."""

    first: int
    picture_stride: int
    block_stride: int
    row_stride: int
    column_stride: int


class Extent(NamedTuple):
    """How many cells take part, where the tensors have more (`Strides` do not say)."""

    pictures: int
    blocks: int
    height: int
    width: int


class Nchw(NamedTuple):
    """The sizes of a flat array in plain order: (pictures, channels, height, width)."""

    pictures: int
    channels: int
    height: int
    width: int


class SlidingWindow(NamedTuple):
    """A window of size x size cells. The one of (row, column) begins at the input's cell (row * stride_y -
    padding, column * stride_x - padding)."""

    size: int
    stride_y: int
    stride_x: int
    padding: int  # cells above and on the left


class PartialSums(NamedTuple):
    """Where `weight_gradient` puts what it sums up: the rows of a batch are divided into `parts`, each of which
    has sums of its own. Strides in floats."""

    parts: int
    part_stride: int
    block_stride: int  # from one block of output channels to the next


class GradientTiles(NamedTuple):
    """Tiles of 4 x 4 cells of a delta for Winograd's method, in reading order over all pictures."""

    a_row: int  # tiles of a row of tiles
    a_picture: int  # tiles of a picture
    first: int
    used: int  # from `first` on
    width: int  # an even number: for so many there is memory
    x_at: int  # where in the workspace the transformed tiles of the input begin
    delta_at: int  # and those of the delta


# --- convolutions -----------------------------------------------------------------------------------------------------


class Origins(NamedTuple):
    """Where the windows of a convolution's output pixels begin in its input; the entries of an indirection table
    count from there."""

    picture_stride: int  # floats
    block_stride: int  # floats; used where each block has filters of its own
    row_stride: int  # floats from output row to output row, the convolution's stride included
    column_stride: int  # floats from output column to output column, likewise
    height: int  # rows of the convolution's output, before pooling
    width: int  # columns of the convolution's output, before pooling

    # Where workers convert what a task reads: `span` words for each of `blocks` blocks of channels. No blocks: the
    # tensor holds the numbers that the product multiplies.
    blocks: int = 0
    span: int = 0
    low: int = 0  # floats from a pixel's origin to the first float that a filter reads
    reach: int = 0  # cells from there to the last; 0: only cells in use are converted, which then lie side by side
    # Where inputs become integers: the factor, and what 0 becomes; both float32.
    scale: Any = 0.0
    zero: Any = 0.0


class FilterOrder(NamedTuple):
    """Where the numbers of filters are in a flat array: that of (filter f, channel c, cell t) is the number `first + f
    filter + c channel + t cell`."""

    filter: int
    channel: int
    first: int
    cell: int


class PackedFilters(NamedTuple):
    """Filters of a direct convolution in panels of up to NR output blocks (`pack.pack_filters`). Where each
    channel has one filter, a panel is one block, and a tap one vector of weights."""

    offsets: Any  # (taps of all panels,) int64, the indirection table: floats from a pixel's origin to a tap's inputs
    lanes: int  # inputs of a tap that are in use, from the first on
    panels: Any  # (panels, 5) int64: the columns BLOCK, OC_VECTORS, FIRST_TAP, TAPS, WEIGHTS of `microkernel.py`
    weights: Any  # for each panel (taps, lanes of a tap, oc_vectors, 16) float32
    bias: Any  # (blocks * 16,) float32


class WinogradFilters(NamedTuple):
    """Transformed 3 x 3 filters G g G^T (`pack.pack_winograd`)."""

    m: int  # of F(m x m, 3 x 3)
    stride: int
    int24: int  # 1 where panels hold 24-bit integers (`pack.py`), else 0
    panels: int  # of NR output blocks
    weights: Any  # (panels, (m + 2)^2) times a panel of `int24.panel_size` floats
    bias: Any  # (panels * NR * 16,) float32


class NchwFilters(NamedTuple):
    """Filters of a convolution in NCHW planes."""

    offsets: Any  # (taps,) int64: floats from an output pixel's origin to what a tap reads
    weights: Any  # (out planes / OUTS, taps, OUTS) float32; depthwise: (planes, taps)
    bias: Any  # (out planes,) float32
    slope: Any  # float32: the activation's factor below zero


class Epilogue(NamedTuple):
    """What follows a convolution's products."""

    channels: int  # of the output; lanes past the last one become 0
    slope: Any  # float32: factor of sums below zero, at most 1; 1: linear
    activation: int  # what a slope cannot express (`kernels/activation.py`), 0 for none
    accumulates: bool  # sums begin with what the output holds, in place of the bias
    # Whether the output is of the numbers that the product multiplies: `scale` times their value plus `zero`.
    stores: bool
    scale: Any  # float32
    zero: Any  # float32
    copies: bool = False  # whether such numbers follow, behind the float32 of all pictures


class Residual(NamedTuple):
    """A tensor that is added after the activation, where `adds` is set; a kernel only reads it."""

    data: Any  # flat float32
    adds: bool
    picture_stride: int  # floats
    block_stride: int  # floats; of NCHW planes: from plane to plane
    pitch: int  # cells from row to row
    origin: int  # the first float inside the halo


class Schedule(NamedTuple):
    """The division of a direct convolution: a task is one panel of filters x `tiles_per_task` tiles of MR
    pixels."""

    tiles_per_task: int
    by_panel: bool  # tasks next to each other share the panel (filters larger than the picture), else the pixels


class WinogradInput(NamedTuple):
    """Where input tiles are read: `start` is the first tile's first float, and `rows` x `columns` cells follow
    it; what lies beyond counts as zero."""

    picture_stride: int  # floats
    block_stride: int  # floats
    pitch: int  # cells
    start: int
    rows: int
    columns: int
    blocks: int
    height: int  # rows of the convolution's output, before pooling
    width: int  # columns of the convolution's output, before pooling
    pool: int  # 1: y takes the largest of each 2 x 2 cells (m even), else 0


class WinogradSchedule(NamedTuple):
    """The division of a Winograd convolution: a task is `tiles_per_task` tiles (even) of the batch x one of
    `panel_ranges` ranges of panels, `panels_per_pass` panels at a time."""

    tiles_per_task: int
    panels_per_pass: int
    panel_ranges: int


class BottleneckLink(NamedTuple):
    """A convolution of an inverted bottleneck: `PackedFilters` with its epilogue and geometry."""

    offsets: Any
    lanes: int
    panels: Any
    weights: Any
    bias: Any
    slope: Any  # float32
    activation: int
    channels: int  # of its output
    column_stride: int  # floats between output columns, in what it reads
    # Of the depthwise one:
    row_stride: int = 0  # floats between output rows, in what it reads
    block_stride: int = 0  # floats between blocks of what it reads
    size: int = 1
    stride: int = 1
    padding: int = 0
    is_straight: bool = False  # `direct.straight_depthwise_rows` serves: cells side by side, with readable memory after


class BandedPlanes(NamedTuple):
    """What an inverted bottleneck reads, and how its output rows are divided."""

    picture_stride: int  # floats
    row_stride: int  # floats
    height: int
    width: int
    side: int  # cells of zeros left and right of the expanded rows
    bands: int  # tasks for each picture
    most_rows: int  # of a band of the output


class NchwRows(NamedTuple):
    """A convolution that reads NCHW planes row by row, or an inverted bottleneck that does, whose window is that
    of its depthwise convolution."""

    channels: int  # of the input
    height: int
    width: int
    size: int
    stride: int
    padding: int
    pitch: int  # floats from row to row in a worker's memory; of an expanded row, as many zeros left as right of it
    blocked: bool  # the output is nChw16c, else NCHW
    pooled: int  # 1: the output is the largest of each 2 x 2 cells, else 0
