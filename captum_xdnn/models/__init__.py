"""Networks without biases, built as torchvision builds them, and weights to try them."""

from captum_xdnn.models.x_cnn_small import X_CNN_Small_Weights, XCNNSmall, x_cnn_small

__all__ = ["XCNNSmall", "X_CNN_Small_Weights", "x_cnn_small"]
